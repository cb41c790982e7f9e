"""Interrupted training: whatever is lost, the result is the bit-same.

Of every kind of network, optimiser and the rest: test_training_matrix.py.
"""

import contextlib
import shutil
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from training_fixtures import SMALL_CNN, Trials

from models.config import TrialConfig
from models.config.schedules import PlateauSchedule
from models.datasets.prepared import read_manifest
from models.files import read_lines
from models.networks import MlpConfig
from models.optimizers import AdamConfig
from models.processes import children_context
from models.trials import EpochRecord, TrialFiles, TrialResult, read_outcome

EPOCHS = 3


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials.of(tmp_path_factory.mktemp("resume") / "prepared")


def killed_after(epoch: int) -> Callable[[EpochRecord], None]:
    """Kill training as soon as an epoch is on disk."""

    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Killed

    return on_epoch


def interrupted_everywhere(trials: Trials, directory: Path, config: TrialConfig) -> TrialResult:
    """Train with a kill after every epoch."""
    for epoch in range(1, EPOCHS + 1):
        with pytest.raises(Killed):
            trials.outcome(directory, config, EPOCHS, on_epoch=killed_after(epoch))
    return trials.result(directory, config, EPOCHS)


def traces(trials: Trials, directory: Path, result: TrialResult) -> list[str]:
    """What must be equal: weights, history without times, scores."""
    lines = [
        record.model_copy(update={"seconds": 0.0}).model_dump_json()
        for record in trials.history(directory)
    ]
    return [*lines, result.model_copy(update={"seconds": 0.0}).model_dump_json()]


def test_a_rate_that_was_reduced_on_a_plateau_stays_so_after_a_kill(
    trials: Trials, tmp_path: Path
) -> None:
    """A rate at which validation gets worse: it is reduced, and by the losses before the kill."""
    config = TrialConfig(
        network=MlpConfig(hidden_units=8),
        optimizer=AdamConfig(learning_rate=0.5),
        schedule=PlateauSchedule(patience=1, decay=0.25),
        minibatch_size=16,
    )
    whole = trials.result(tmp_path / "whole", config, EPOCHS)
    resumed = interrupted_everywhere(trials, tmp_path / "killed", config)
    rates = [record.learning_rate for record in trials.history(tmp_path / "killed")]

    assert rates[0] == 0.5
    assert rates[-1] < 0.5
    assert traces(trials, tmp_path / "killed", resumed) == traces(trials, tmp_path / "whole", whole)


CONFIG = TrialConfig(network=SMALL_CNN, minibatch_size=16)


def torn_history(directory: Path) -> None:
    """A crash in the middle of writing the next line."""
    with (directory / TrialFiles.HISTORY).open("a") as file:
        file.write('{"epoch": 3, "train')


def history_ahead(directory: Path) -> None:
    """A crash between history and checkpoint: a line too many."""
    lines = read_lines(directory / TrialFiles.HISTORY)
    with (directory / TrialFiles.HISTORY).open("ab") as file:
        file.write(lines[-1].replace(b'"epoch":2', b'"epoch":3') + b"\n")


def history_short(directory: Path) -> None:
    """A line lost: the checkpoint knows more than the history."""
    path = directory / TrialFiles.HISTORY
    path.write_bytes(read_lines(path)[0] + b"\n")


def history_garbled(directory: Path) -> None:
    """A line that is no record."""
    path = directory / TrialFiles.HISTORY
    path.write_text(path.read_text().replace("train_loss", "train_lost", 1))


def checkpoint_flipped(directory: Path) -> None:
    """A bit of last.ckpt turned."""
    path = directory / TrialFiles.LAST
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)


def checkpoint_truncated(directory: Path) -> None:
    """Half of last.ckpt."""
    path = directory / TrialFiles.LAST
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def checkpoint_empty(directory: Path) -> None:
    """Nothing in last.ckpt."""
    (directory / TrialFiles.LAST).write_bytes(b"")


def best_gone(directory: Path) -> None:
    """best.ckpt deleted; last.ckpt holds those weights too."""
    (directory / TrialFiles.BEST).unlink()


def best_of_a_later_epoch(directory: Path) -> None:
    """A crash between best.ckpt and last.ckpt: the former is ahead."""
    (directory / TrialFiles.BEST).write_bytes(b"weights of epoch 3")


def spec_gone(directory: Path) -> None:
    """trial.json deleted."""
    (directory / TrialFiles.SPEC).unlink()


@pytest.mark.parametrize(
    "fault",
    [
        torn_history,
        history_ahead,
        history_short,
        history_garbled,
        checkpoint_flipped,
        checkpoint_truncated,
        checkpoint_empty,
        best_gone,
        best_of_a_later_epoch,
        spec_gone,
    ],
)
def test_whatever_file_is_damaged_the_result_is_the_same(
    trials: Trials, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    """What is not whole is thrown away, and training goes on from what is."""
    whole = trials.result(tmp_path / "whole", CONFIG, EPOCHS)
    directory = tmp_path / "damaged"
    with pytest.raises(Killed):
        trials.outcome(directory, CONFIG, EPOCHS, on_epoch=killed_after(2))
    fault(directory)
    resumed = trials.result(directory, CONFIG, EPOCHS)
    assert traces(trials, directory, resumed) == traces(trials, tmp_path / "whole", whole)
    assert (directory / TrialFiles.SPEC).is_file()


def test_lost_weights_of_a_result_come_back(trials: Trials, tmp_path: Path) -> None:
    """A result whose checkpoint was deleted is not believed: the weights are made again."""
    result = trials.result(tmp_path, CONFIG, 2)
    (tmp_path / result.checkpoint).unlink()
    assert trials.result(tmp_path, CONFIG, 2).weights_digest == result.weights_digest
    assert (tmp_path / result.checkpoint).is_file()


def test_lost_result_files_come_back_without_training(trials: Trials, tmp_path: Path) -> None:
    """From last.ckpt and the history the result is written again."""
    result = trials.result(tmp_path, CONFIG, 2)
    (tmp_path / TrialFiles.RESULT).unlink()
    shutil.rmtree(tmp_path / "results")
    heard: list[EpochRecord] = []
    assert trials.outcome(tmp_path, CONFIG, 2, on_epoch=heard.append) == result
    assert heard == []


class _DiskFullError(OSError):
    pass


@pytest.mark.parametrize("fatal", range(1, 23))
def test_whichever_write_fails_the_next_attempt_ends_the_same(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """Fail the n-th rename or flush of a training; resumed, it ends as if nothing had been."""
    whole = trials.result(tmp_path / "whole", CONFIG, 2)
    calls = 0

    def counted(original: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == fatal:
                raise _DiskFullError(28, "No space left on device")
            original(descriptor)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("models.files.os.fsync", counted(__import__("os").fsync))
        try:
            trials.outcome(tmp_path / "failing", CONFIG, 2)
        except _DiskFullError:
            assert calls == fatal
        else:
            pytest.fail(f"training flushes fewer than {fatal} times")
    # What counts as done is not trained again, so nothing may be missing.
    done = read_outcome(tmp_path / "failing", 2) is not None
    assert not done or (tmp_path / "failing" / TrialFiles.RESULT).is_file()
    resumed = trials.result(tmp_path / "failing", CONFIG, 2)
    assert traces(trials, tmp_path / "failing", resumed) == traces(
        trials, tmp_path / "whole", whole
    )
    assert files(tmp_path / "failing") == files(tmp_path / "whole")


def files(directory: Path) -> set[str]:
    """Names below a directory."""
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def train_and_tell(prepared: Path, directory: Path, connection: Connection) -> None:
    """Train in a process of its own; say each epoch."""
    trials = Trials(prepared, read_manifest(prepared))
    trials.outcome(
        directory, CONFIG, KILLED_EPOCHS, on_epoch=lambda record: connection.send(record.epoch)
    )


KILLED_EPOCHS = 12


@pytest.mark.slow
def test_killed_with_9_again_and_again_a_trial_ends_as_if_never_killed(
    trials: Trials, tmp_path: Path
) -> None:
    """Real processes, killed at moments that vary, within an epoch or while files are written."""
    context = children_context()
    if isinstance(context, ForkServerContext):
        context.set_forkserver_preload(["models.training.fit"])
    directory, kills = tmp_path / "killed", 0
    while not (directory / TrialFiles.RESULT).exists():
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=train_and_tell, args=(trials.prepared, directory, sender))
        process.start()
        sender.close()
        with contextlib.suppress(EOFError):
            receiver.recv()
            receiver.poll(0.002 * kills)  # a little later each time
        process.kill()
        process.join()
        receiver.close()
        kills += 1
    assert kills >= 3
    killed = trials.result(directory, CONFIG, KILLED_EPOCHS)
    whole = trials.result(tmp_path / "whole", CONFIG, KILLED_EPOCHS)
    assert traces(trials, directory, killed) == traces(trials, tmp_path / "whole", whole)
