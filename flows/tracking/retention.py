"""Find and delete retrainings and drift reports in MLflow, with all that belongs to them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.uri import is_local_uri

from flows.records.drift_reports import drift_records, files_of
from flows.tracking.events import JOURNALS, now_ms
from flows.tracking.experiment import REPORT
from flows.tracking.projection import JOURNAL
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, all_pages, mlflow_errors

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class MirroredRecord:
    """A retraining or a drift report in MLflow: runs, networks, and the files of its events."""

    runs: tuple[Run, ...]
    """The parent last: while it is there, the others are found again."""
    models: tuple[LoggedModel, ...]
    sources: tuple[Path, ...]
    """The journal; or figure and record. Empty where this project has none of it."""

    @property
    def name(self) -> str:
        """Of the parent run, else of its file."""
        return str(self.runs[-1].info.run_name) if self.runs else str(self.sources[-1])

    @property
    def is_running(self) -> bool:
        """Whether any of its runs is RUNNING."""
        return any(run.info.status == "RUNNING" for run in self.runs)

    @property
    def age_days(self) -> float:
        """Days since the last of its runs ended."""
        ends = [run.info.end_time or run.info.start_time for run in self.runs]
        ends += [int(path.stat().st_mtime * 1000) for path in self.sources if path.exists()]
        return (now_ms() - max(ends, default=now_ms())) / _DAY_MS

    def folders(self) -> Iterator[Path]:
        """Folders of its artifacts on this host."""
        kept = [(run.info.run_id, str(run.info.artifact_uri)) for run in self.runs]
        kept += [(model.model_id, str(model.artifact_location)) for model in self.models]
        for name, uri in kept:
            folder = Path(uri.removeprefix("file://")).parent
            if _is_local(uri) and folder.name == name:
                yield folder


class _HardDeleting(Protocol):
    """MLflow's own stores, as `mlflow gc` uses them."""

    def _hard_delete_run(self, run_id: str) -> None: ...

    def _hard_delete_logged_model(self, model_id: str) -> None: ...

    def _get_deleted_logged_models(self) -> list[str]: ...

    def get_logged_model(self, model_id: str, *, allow_deleted: bool) -> LoggedModel: ...


def mirrored_retrainings(tracking: Tracking) -> list[MirroredRecord]:
    """Retrainings of this project in the tracking's experiment, and journals that MLflow lacks.

    On a server that others use as well, a retraining without a journal here is not this project's.
    Raises TrackingError where MLflow fails.
    """
    files = {path.stem: path for path in (JOURNALS / tracking.name).glob("*.jsonl")}
    families: dict[str, list[Run]] = {}
    with mlflow_errors():
        for run in Runs(tracking).search("", view=ViewType.ALL):
            above = run.data.tags.get(MLFLOW_PARENT_RUN_ID, run.info.run_id)
            families.setdefault(above, []).append(run)
        models = _models(tracking)
    found = []
    for above, runs in families.items():
        runs.sort(key=lambda run: run.info.run_id == above)
        journal = files.pop(runs[-1].data.tags.get(JOURNAL, ""), None)
        if journal is not None or (_is_file(tracking) and _is_from_pitchpipe(runs)):
            ids = {run.info.run_id for run in runs}
            theirs = tuple(model for model in models if model.source_run_id in ids)
            found.append(MirroredRecord(tuple(runs), theirs, () if journal is None else (journal,)))
    return found + [MirroredRecord((), (), (path,)) for path in files.values()]


def mirrored_reports(tracking: Tracking) -> list[MirroredRecord]:
    """Drift reports of this project in the tracking's experiment, and records that MLflow lacks.

    On a server that others use as well, a report without a record here is not this project's.
    Raises TrackingError where MLflow fails.
    """
    files = {record.id: files_of(record) for record in drift_records(tracking.name)}
    found: dict[str, list[Run]] = {identity: [] for identity in files}
    with mlflow_errors():
        for run in Runs(tracking).search(f"tags.`{REPORT}` != ''", view=ViewType.ALL):
            identity = run.data.tags[REPORT]
            if identity in files or _is_file(tracking):
                found.setdefault(identity, []).append(run)
    return [
        MirroredRecord(tuple(runs), (), files.get(identity, ())) for identity, runs in found.items()
    ]


def remove_mirrored(
    tracking: Tracking, record: MirroredRecord, *, discard: Callable[[Path], None]
) -> None:
    """Delete a record's runs, artifacts and files; after a kill, call it again.

    discard: deletes a file or folder. A tracking server keeps deleted runs until its own
    `mlflow gc`. Raises TrackingError where MLflow fails.
    """
    # First, or `pitchpipe sync` would restore the runs; on a server last, since the journal alone
    # says that they are this project's.
    if _is_file(tracking):
        _discard_sources(record, discard)
    for folder in record.folders():
        if folder.exists():
            discard(folder)
    with mlflow_errors():
        _remove_models(tracking, record.models)
        for run in record.runs:
            _remove_run(tracking, run)
    _discard_sources(record, discard)


def _discard_sources(record: MirroredRecord, discard: Callable[[Path], None]) -> None:
    for path in record.sources:
        if path.exists():
            discard(path)


def _remove_models(tracking: Tracking, models: Sequence[LoggedModel]) -> None:
    store = _hard_deleting(tracking)
    for model in models:
        tracking.client.delete_logged_model(model.model_id)
        if store is not None:
            store._hard_delete_logged_model(model.model_id)  # noqa: SLF001 - as `mlflow gc` does


def _remove_run(tracking: Tracking, run: Run) -> None:
    if run.info.lifecycle_stage == "active":
        tracking.client.delete_run(run.info.run_id)
    store = _hard_deleting(tracking)
    if store is not None:
        uri = str(run.info.artifact_uri)
        if not _is_local(uri):
            get_artifact_repository(uri).delete_artifacts()  # type: ignore[no-untyped-call]
        store._hard_delete_run(run.info.run_id)  # noqa: SLF001 - as `mlflow gc` does


def _hard_deleting(tracking: Tracking) -> _HardDeleting | None:
    """The database behind the client; None for a server, which only marks runs as deleted."""
    store = tracking.client._tracking_client.store  # noqa: SLF001 - the only way to it
    return store if hasattr(store, "_hard_delete_run") else None


def _models(tracking: Tracking) -> list[LoggedModel]:
    """Logged models of the experiment; of a local database, deleted ones as well."""
    store, search = _hard_deleting(tracking), tracking.client.search_logged_models
    experiments = [tracking.experiment_id]
    found = list(all_pages(lambda token: search(experiments, page_token=token)))
    if store is not None:
        deleted = store._get_deleted_logged_models()  # noqa: SLF001 - as `mlflow gc` does
        found += [store.get_logged_model(model_id, allow_deleted=True) for model_id in deleted]
    return found


def _is_from_pitchpipe(runs: Sequence[Run]) -> bool:
    return any(JOURNAL in run.data.tags or "trial.key" in run.data.tags for run in runs)


def _is_file(tracking: Tracking) -> bool:
    """Whether the store is a file, which this project alone uses."""
    return tracking.uri.startswith("sqlite:")


def _is_local(uri: str) -> bool:
    return bool(is_local_uri(uri))  # type: ignore[no-untyped-call]  # mlflow does not type it
