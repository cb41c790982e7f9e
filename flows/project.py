"""A project for those who would rather call than type: docs/python.md.

Around each call the project's root is the working directory, telemetry is off, and what libraries
are told of the project by environment variables is put back.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.runtime.environment import check_address, restored, set_safe_defaults
from models.errors import ConfigError
from models.files import PARAMS

if TYPE_CHECKING:
    from flows.records.retraining import Retraining
    from flows.records.trial_store import StoredTrial
    from flows.registry.records import VersionRecord
    from flows.tracking.store import Tracking
    from flows.versions.predict import Prediction
    from models.config import Params

_OF_PROJECT = ("MLFLOW_TRACKING_URI", "PREFECT_HOME")
"""Set in a process that opened a store or ran a flow; another project has others."""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with a params.yaml. One call at a time in a process: it moves the process there."""

    root: Path
    overrides: tuple[str, ...] = ()
    """`K=V`, as after `--set`, of every call."""

    @classmethod
    def at(cls, folder: str | Path = ".", *overrides: str) -> "Project":
        """Return the project in a folder. Raises ConfigError where it holds no params.yaml."""
        root = Path(folder).resolve()
        if not (root / PARAMS).is_file():
            raise ConfigError(f"{root}: holds no {PARAMS}; `pitchpipe init` makes a project")
        return cls(root, overrides)

    @property
    def params(self) -> "Params":
        """What a retraining would do now; raises ConfigError as the command line does."""
        from models.config import load_params  # noqa: PLC0415 - here and below: seconds to import

        with self._entered():
            return load_params(PARAMS, self.overrides)

    def run(
        self, *, force: bool = False, promote: bool = True, workers: int | None = None
    ) -> "Retraining":
        """Retrain once if there is a reason to, as `pitchpipe run` does, and return its record.

        workers: trials at the same time; None: one for each core. A script calls it below
        `if __name__ == "__main__":`, for the processes of trials import the script.
        Raises PitchpipeError and its children, whose messages say what to do.
        """
        from flows.records.retraining import Request  # noqa: PLC0415
        from flows.run import run_retraining  # noqa: PLC0415

        given = Request(overrides=[*self.overrides], force=force, promote=promote, workers=workers)
        with self._entered():
            return run_retraining(given)

    def trials(self) -> "list[StoredTrial]":
        """Return every trial of the store, with its epochs, sorted by key."""
        from flows.records.trial_store import stored_trials  # noqa: PLC0415

        with self._entered():
            return list(stored_trials())

    def versions(self) -> "list[VersionRecord]":
        """Return the versions of the params' registered name, newest first."""
        from flows.registry.listing import list_versions  # noqa: PLC0415

        with self._entered():
            return list_versions(self._reading())

    def predict(
        self, source: str | Path, version: str | int = "champion"
    ) -> "Iterator[Prediction]":
        """Load a version, checked, and return its predictions for every image of a source.

        source: an image, a folder, Parquet, IDX or NPZ. Images are read as the rows are asked for.
        Raises ConfigError where there is no such version; InputError where there is no image.
        """
        from flows.registry.loading import load_version  # noqa: PLC0415
        from flows.versions.predict import predict_source  # noqa: PLC0415

        images = Path(source).resolve()
        with self._entered():
            loaded = load_version(self._reading(), version)
        return predict_source(loaded, images)

    def _reading(self) -> "Tracking":
        from flows.tracking.reading import open_for_reading  # noqa: PLC0415
        from models.config import load_params  # noqa: PLC0415

        return open_for_reading(load_params(PARAMS, self.overrides).registered_name)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        set_safe_defaults()
        check_address("PREFECT_API_URL")
        with contextlib.chdir(self.root), restored(*_OF_PROJECT):
            yield
