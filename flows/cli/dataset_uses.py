"""Uses: the MLflow runs and the registered versions that were made from each dataset version."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.records.champion import MLFLOW_DATABASE
from models.config import Record
from models.errors import PitchpipeError

if TYPE_CHECKING:
    from flows.tracking.store import Tracking

log = logging.getLogger(__name__)

_DIGEST = "dataset.digest"


class RunUse(Record):
    """A run of MLflow."""

    id: str
    name: str
    parent: str | None
    """Id of the retraining's run; null: it is one."""
    status: str


class VersionUse(Record):
    """A registered version."""

    name: str
    version: int
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uses:
    """What was made from one version of a dataset, newest first."""

    runs: list[RunUse] = field(default_factory=list)
    versions: list[VersionUse] = field(default_factory=list)


def dataset_uses(dataset: str, *, registered: str) -> dict[str, Uses] | None:
    """Digest of the dataset -> what was made from it under a registered name.

    None, and a warning, where MLflow cannot be asked. A project without a store is not given one.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") and not MLFLOW_DATABASE.exists():
        return {}
    from flows.tracking.store import mlflow_errors, open_tracking

    try:
        with mlflow_errors():
            return _found(open_tracking(registered), dataset)
    except (PitchpipeError, OSError) as error:
        log.warning("runs and versions are not shown: %s", error)
        return None


def _found(tracking: "Tracking", dataset: str) -> dict[str, Uses]:
    from flows.registry.listing import list_versions

    found: dict[str, Uses] = {}
    for digest, run in _runs(tracking, dataset):
        found.setdefault(digest, Uses()).runs.append(run)
    for version in list_versions(tracking):
        if _DIGEST in version.tags:
            use = VersionUse(name=version.name, version=version.version, aliases=version.aliases)
            found.setdefault(version.tags[_DIGEST], Uses()).versions.append(use)
    return found


def _runs(tracking: "Tracking", dataset: str) -> Iterator[tuple[str, RunUse]]:
    from flows.tracking.runs import Runs

    for run in Runs(tracking).search(f"tags.`dataset.name` = '{dataset}'"):
        tags = run.data.tags
        yield (
            tags.get(_DIGEST, ""),
            RunUse(
                id=run.info.run_id,
                name=run.info.run_name,
                parent=tags.get("mlflow.parentRunId"),
                status=run.info.status,
            ),
        )
