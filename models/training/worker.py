"""Entry point of a trial's child process: trains one trial and reports each epoch.

The fork server preloads `models.training.fit`, so that a child starts with everything imported;
the parent imports this module only, which is light.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from models.config import Record
from models.errors import PitchpipeError
from models.lifetime import end_with_parent
from models.training.processor import instruction_set
from models.training.source import imported_source_digest
from models.trials import EpochRecord, TrialSpec

ALLOCATOR_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed pages instead of returning them to the kernel at each step: 1-30 % more images
a second, by the machine's load. Read when a process starts, hence set before the fork server."""

log = logging.getLogger(__name__)


class TrialJob(Record):
    """One trial to be trained up to a budget; travels to the process that trains it as JSON."""

    spec: TrialSpec
    directory: Path
    """The trial's directory, relative to the project's root."""
    prepared: Path
    """Folder of the prepared arrays."""
    budget: int
    """Epochs."""
    label: str
    """What distinguishes it from the other trials, for people."""
    timeout_minutes: float | None = None
    """Minutes without a finished epoch after which the trial is killed; null: no limit."""
    cuda_devices: tuple[str, ...] = ()
    """GPUs to train on, as CUDA_VISIBLE_DEVICES names them; none for a trial on the CPU."""


class Complaint(Record):
    """An error in the child that the trial did not cause."""

    complaint: str


def run(job_json: str, connection: Connection) -> None:
    """Train the trial of a job, and send an EpochRecord as JSON after each epoch.

    The outcome is written to the trial's directory. An error that the trial did not cause (a full
    disk, altered data, a fault of pitchpipe) is sent as a Complaint, for the parent to raise.
    """
    end_with_parent()
    # Ctrl-C reaches every process of the terminal; the parent decides and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    job = TrialJob.model_validate_json(job_json)
    if job.cuda_devices:  # read when this process first uses CUDA, which no parent of it did
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(job.cuda_devices)

    def send(record: EpochRecord | Complaint) -> None:
        try:
            connection.send_bytes(record.model_dump_json().encode())
        except OSError:  # nobody receives: the parent was killed, and this process ends as well
            raise SystemExit(1) from None

    try:
        _train(job, send)
    except PitchpipeError as error:
        send(Complaint(complaint=str(error)))
    except Exception as error:
        log.exception("training trial %s", job.spec.key)
        send(Complaint(complaint=f"{type(error).__name__}: {error}"))


def _train(job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> None:
    if job.spec.source != imported_source_digest():
        # Otherwise results of the old code would be kept under the key of the new.
        raise PitchpipeError("the training code was changed since this retraining began; run again")
    if job.spec.instructions not in (None, found := instruction_set()):
        raise PitchpipeError(
            f"{socket.gethostname()} computes with {found}, and the trial's key says "
            f"{job.spec.instructions}: its bits would be others; let machines of one kind work on "
            "a retraining"
        )
    from models.training.fit import train_trial  # noqa: PLC0415 - see the module's docstring

    train_trial(
        job.spec, job.directory, prepared=job.prepared, budget=job.budget, on_epoch=on_epoch
    )
