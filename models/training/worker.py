"""Entry of a trial's child process: trains one trial and says each epoch as it ends.

The fork server preloads `models.training.fit`, so that a child starts with everything imported;
the parent imports this module only, which is light. MLflow, Prefect and DVC are not known here.
"""

import signal
from multiprocessing.connection import Connection
from pathlib import Path

from models.config import Record
from models.processes import die_with_parent
from models.trials import EpochRecord, TrialSpec


class Work(Record):
    """One trial to be trained, as it travels to the child."""

    spec: TrialSpec
    directory: str
    """The trial's directory, relative to the project's root."""
    prepared: str
    """Folder of the prepared arrays."""
    budget: int
    """Epochs."""


def run(work_json: str, connection: Connection) -> None:
    """Train; send an EpochRecord as JSON after each epoch. The outcome is what is on disk."""
    die_with_parent()
    from models.training.fit import train_trial  # noqa: PLC0415 - see the module's docstring

    # Ctrl-C reaches every process of the terminal; the parent decides and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work = Work.model_validate_json(work_json)

    def tell(record: EpochRecord) -> None:
        connection.send_bytes(record.model_dump_json().encode())

    train_trial(
        work.spec,
        Path(work.directory),
        prepared=Path(work.prepared),
        budget=work.budget,
        on_epoch=tell,
    )
