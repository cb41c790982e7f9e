"""Files that were a version elsewhere, registered here."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flows.lineage import Lineage, flattened
from flows.registry.listing import find_registration
from flows.registry.packing import EXTRAS, LINEAGE, files_digest
from flows.registry.storing import LOCK, Storing, create_version, store_files
from flows.tracking.events import now_ms
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, asking


@dataclass(frozen=True, slots=True)
class Imported:
    """A version's files, checked, and what was said of them."""

    directory: Path
    tags: dict[str, str]
    description: str
    report: Path | None


def register_files(tracking: Tracking, imported: Imported) -> int:
    """Make a version of files; the same registration again finds the same version."""
    registration = imported.tags["registration"]
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), asking():
        version = find_registration(tracking, registration)
        return _create(tracking, imported, registration) if version is None else version


def _create(tracking: Tracking, imported: Imported, registration: str) -> int:
    lineage = Lineage.model_validate_json((imported.directory / EXTRAS / LINEAGE).read_bytes())
    runs, at = Runs(tracking), now_ms()
    run_id = runs.create(imported.tags["imported.from"], tags=imported.tags, at=at)
    runs.log_params(run_id, flattened(lineage.spec.config))
    runs.log_dataset(run_id, lineage.dataset, context="training")
    if imported.report is not None:
        runs.log_files(run_id, str(imported.report), under="report")
    runs.end(run_id, "FINISHED", at=at)
    storing = Storing(registration=registration, run_id=run_id, params={})

    def fill(directory: Path, _model_id: str) -> str:
        shutil.copytree(imported.directory, directory)
        return files_digest(directory)

    model_id, _ = store_files(tracking, storing, fill)
    return create_version(
        tracking, storing, model_id, tags=imported.tags, description=imported.description
    )
