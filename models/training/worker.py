"""Entry of a trial's child process: trains one trial and says each epoch as it ends.

The fork server preloads `models.training.fit`, so that a child starts with everything imported;
the parent imports this module only, which is light. MLflow, Prefect and DVC are not known here.
"""

import logging
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from models.config import Record
from models.errors import PitchpipeError
from models.processes import die_with_parent
from models.training.source import imported_source_digest
from models.trials import EpochRecord, TrialSpec

ALLOCATOR_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed pages instead of returning them to the kernel at each step: 1-30 % more images
a second, by the machine's load. Read when a process starts, so set before the fork server is."""


log = logging.getLogger(__name__)


class Work(Record):
    """One trial to be trained, as it travels to the child."""

    spec: TrialSpec
    directory: str
    """The trial's directory, relative to the project's root."""
    prepared: str
    """Folder of the prepared arrays."""
    budget: int
    """Epochs."""
    cuda_devices: tuple[str, ...] = ()
    """GPUs to train on, as CUDA_VISIBLE_DEVICES names them; none for a trial on the CPU."""


class Complaint(Record):
    """What went wrong in the child that is no fault of the trial's."""

    complaint: str


def run(work_json: str, connection: Connection) -> None:
    """Train; send an EpochRecord as JSON after each epoch. The outcome is what is on disk.

    An error that is no trial's fault (a full disk, altered data, a mistake of ours) is sent as a
    Complaint, for the parent to raise.
    """
    die_with_parent()
    # Ctrl-C reaches every process of the terminal; the parent decides and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work = Work.model_validate_json(work_json)
    if work.cuda_devices:  # read when this process first uses CUDA, which no parent of it did
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(work.cuda_devices)

    def tell(record: EpochRecord | Complaint) -> None:
        try:
            connection.send_bytes(record.model_dump_json().encode())
        except OSError:  # nobody hears: the parent was killed, and this process is about to be
            raise SystemExit(1) from None

    try:
        _train(work, tell)
    except PitchpipeError as error:
        tell(Complaint(complaint=str(error)))
    except Exception as error:
        log.exception("training trial %s", work.spec.key)
        tell(Complaint(complaint=f"{type(error).__name__}: {error}"))


def _train(work: Work, tell: Callable[[EpochRecord], None]) -> None:
    if work.spec.source != imported_source_digest():
        # Else the old code's results would be kept under the key of the new.
        raise PitchpipeError(
            "the code that trains was changed since this retraining began; run again"
        )
    from models.training.fit import train_trial  # noqa: PLC0415 - see the module's docstring

    train_trial(
        work.spec,
        Path(work.directory),
        prepared=Path(work.prepared),
        budget=work.budget,
        on_epoch=tell,
    )
