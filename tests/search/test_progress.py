"""What a person sees while trials train: counts, the best so far, the time left."""

import io
import re

import pytest

from flows.search.progress import SearchProgress
from models.config import TrialConfig
from models.trials import EpochRecord, Scores, TrialFailure, TrialResult, TrialSpec


class Clock:
    """Stands still until it is set."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> SearchProgress:
    """Of six trials of five epochs, 20 epochs to be trained."""
    return SearchProgress(total=6, epochs=20, budget=5, objective="accuracy", clock=clock)


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error one; not in a fixture, since pytest puts its own back for the test."""
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return file


def spec(seed: int) -> TrialSpec:
    return TrialSpec(config=TrialConfig(seed=seed), dataset="d", source="s", versions={})


def begin(progress: SearchProgress, seed: int, *, cached: bool = False) -> None:
    progress.trial_started(spec(seed), {"seed": str(seed)}, cached=cached)


def learn(progress: SearchProgress, seed: int, epoch: int, accuracy: float) -> None:
    record = EpochRecord(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=accuracy,
        validation_loss=1 - accuracy,
        validation_accuracy=accuracy,
        validation_f1_macro=accuracy,
        learning_rate=0.001,
        seconds=1.5,
    )
    progress.epoch(spec(seed).key, record)


def end(
    progress: SearchProgress, seed: int, accuracy: float, *, epochs: int = 5, pruned: bool = False
) -> None:
    result = TrialResult(
        key=spec(seed).key,
        config=TrialConfig(seed=seed),
        budget=5,
        epochs=epochs,
        best_epoch=1,
        scores=Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy),
        seconds=1.5 * epochs,
        checkpoint="best.ckpt",
        checkpoint_digest="0",
        weights_digest="0",
    )
    progress.trial_finished(result, pruned=pruned)


def fail(progress: SearchProgress, seed: int) -> None:
    config = TrialConfig(seed=seed)
    progress.trial_finished(
        TrialFailure(
            key=spec(seed).key,
            config=config,
            budget=5,
            epochs=0,
            reason="loss is nan",
            kind="diverged",
        )
    )


def search(progress: SearchProgress) -> None:
    """One cached, one trained, one pruned, one failed, one waiting, one in its second epoch."""
    begin(progress, 0, cached=True)
    end(progress, 0, 0.91)
    begin(progress, 1)
    learn(progress, 1, 1, 0.5)
    end(progress, 1, 0.5)
    begin(progress, 2)
    learn(progress, 2, 1, 0.2)
    end(progress, 2, 0.2, epochs=1, pruned=True)
    begin(progress, 3)
    fail(progress, 3)
    begin(progress, 5)
    learn(progress, 5, 1, 0.3)
    progress.pause(spec(5).key)
    begin(progress, 4)
    learn(progress, 4, 1, 0.95)
    learn(progress, 4, 2, 0.94)


def last_frame(terminal: Terminal) -> str:
    """Text of what was drawn last, on one line: words that may be wrapped are found in it."""
    codes_and_frames = r"\x1b\[[0-9;?]*[A-Za-z]|[\u2500-\u257f]"
    plain = re.sub(codes_and_frames, "", terminal.getvalue())
    *_, headline = re.finditer(r"\d+ of \d+\s+trials\s+done", plain)
    return " ".join(plain[headline.start() :].split())


def test_plain_lines_tell_each_end(
    progress: SearchProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a trial: how many are done, its scores, and how they were come by."""
    with progress:
        search(progress)

    assert capsys.readouterr().err.splitlines() == [
        "1/6  seed=0: accuracy 0.9100, macro F1 0.9100, cross-entropy 0.0900 (cached)",
        "2/6  seed=1: accuracy 0.5000, macro F1 0.5000, cross-entropy 0.5000 (5 epochs, 7.5 s)",
        (
            "3/6  seed=2: accuracy 0.2000, macro F1 0.2000, cross-entropy 0.8000 "
            "(pruned, 1 epochs, 1.5 s)"
        ),
        "failed   seed=3: loss is nan",
    ]


def test_the_table_counts_and_shows_what_runs_and_what_is_best(
    progress: SearchProgress, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Five epochs in 20 s: 15 more take 60. The best epoch so far may be of one that runs."""
    terminal = terminal_of(monkeypatch)
    with progress:
        search(progress)
        clock.seconds += 20

    shown = last_frame(terminal)
    assert "4 of 6 trials done, 1 running, 1 cached, 1 pruned, 1 failed; about 60 s left" in shown
    assert "seed=4 2/5" in shown
    assert "accuracy 0.9400" in shown
    assert "seed=1 " not in shown
    assert "seed=5 " not in shown
    assert "best so far: accuracy 0.9500" in shown
    assert shown.endswith("(seed=4)")


def test_nothing_is_guessed_before_the_first_epoch(
    progress: SearchProgress, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """No rate, no best: said in words."""
    terminal = terminal_of(monkeypatch)
    with progress:
        begin(progress, 0)
        clock.seconds += 50

    shown = last_frame(terminal)
    assert "0 of 6 trials done, 1 running" in shown
    assert "time left: not known yet" in shown
    assert "first epoch" in shown
    assert shown.endswith("best so far: none yet")


def test_no_time_is_left_where_more_was_trained_than_planned(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """A plan is a guess, of searches that prune for one; it never runs backwards."""
    terminal = terminal_of(monkeypatch)
    with SearchProgress(total=1, epochs=1, budget=5, objective="accuracy", clock=clock) as progress:
        begin(progress, 0)
        for epoch in range(1, 4):
            learn(progress, 0, epoch, 0.5)
        clock.seconds += 30

    assert "about 0 s left" in last_frame(terminal)


def test_the_best_by_cross_entropy_is_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a tie stays with the one that was there first."""
    terminal = terminal_of(monkeypatch)
    with SearchProgress(total=3, epochs=9, budget=5, objective="cross_entropy") as progress:
        for seed, accuracy in enumerate((0.6, 0.7, 0.7)):
            begin(progress, seed, cached=True)
            end(progress, seed, accuracy)

    assert last_frame(terminal).endswith("cross-entropy 0.3000 (seed=1)")
