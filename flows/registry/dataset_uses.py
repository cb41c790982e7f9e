"""Runs and registered versions made from each version of a dataset."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import field_serializer

from flows.datasets.versions import LoggedBatch, LoggedVersion, logged_versions
from flows.records.champion import MLFLOW_DATABASE, is_own_database
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


class UsedVersion(LoggedVersion):
    """A version of a dataset and what was made from it; batches are written as names."""

    runs: tuple[RunUse, ...] | None
    """Newest first; null where MLflow cannot be asked."""
    versions: tuple[VersionUse, ...] | None

    @field_serializer("batches")
    def _names(self, batches: tuple[LoggedBatch, ...]) -> list[str]:
        return [batch.name for batch in batches]


def used_versions(dataset: str, *, registered: str) -> list[UsedVersion]:
    """List the dataset's versions, newest first, with their uses under a registered name."""
    logged = logged_versions(dataset)
    uses = dataset_uses(dataset, registered=registered) if logged else {}
    return [
        _with_uses(version, uses.get(version.digest, Uses()) if uses is not None else None)
        for version in reversed(logged)
    ]


def _with_uses(version: LoggedVersion, uses: Uses | None) -> UsedVersion:
    return UsedVersion(
        **dict(version),
        runs=tuple(uses.runs) if uses else None,
        versions=tuple(uses.versions) if uses else None,
    )


def dataset_uses(dataset: str, *, registered: str) -> dict[str, Uses] | None:
    """Digest of a dataset version -> what was made from it under a registered name.

    None, and a warning, where MLflow cannot be asked. A project without a store is not given one.
    """
    if is_own_database() and not MLFLOW_DATABASE.exists():
        return {}
    from flows.tracking.store import mlflow_errors, open_tracking  # noqa: PLC0415 - imports MLflow

    try:
        with mlflow_errors():
            return _uses(open_tracking(registered), dataset)
    except (PitchpipeError, OSError) as error:
        log.warning("runs and versions are not shown: %s", error)
        return None


def _uses(tracking: "Tracking", dataset: str) -> dict[str, Uses]:
    from flows.registry.listing import list_versions  # noqa: PLC0415 - imports MLflow

    uses: dict[str, Uses] = {}
    for digest, run in _runs(tracking, dataset):
        uses.setdefault(digest, Uses()).runs.append(run)
    for version in list_versions(tracking):
        if _DIGEST in version.tags:
            use = VersionUse(name=version.name, version=version.version, aliases=version.aliases)
            uses.setdefault(version.tags[_DIGEST], Uses()).versions.append(use)
    return uses


def _runs(tracking: "Tracking", dataset: str) -> Iterator[tuple[str, RunUse]]:
    from flows.tracking.runs import Runs  # noqa: PLC0415 - imports MLflow

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
