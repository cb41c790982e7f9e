"""`inbox:` in params.yaml: the folder into which new images are delivered."""

from pydantic import Field

from models.config.base import Record


class InboxParams(Record):
    """Where deliveries are looked for, and when one is whole."""

    path: str = Field("data/inbox", min_length=1)
    """Folder, from the project's root; deliveries lie in <path>/<dataset>/."""
    settle_seconds: float = Field(10.0, ge=0)
    """Seconds for which nothing in a delivery may have changed before it is taken."""
