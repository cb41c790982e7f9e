"""Progress of a search on standard error: a live table on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from models.config.trial import Objective
from models.search.proposals import label_of
from models.trials import EpochRecord, Outcome, Scores, TrialFailure, TrialSpec

if TYPE_CHECKING:
    from types import TracebackType

    from rich.table import Table

_ROWS_SHOWN = 12


@dataclass(slots=True)
class _Running:
    label: str
    epochs: int = 0
    scores: Scores | None = None


@dataclass(slots=True)
class _Counts:
    """Counts of trials, and of epochs trained; the time left is estimated from these."""

    finished: int = 0
    cached: int = 0
    failed: int = 0
    pruned: int = 0
    epochs: int = 0


class SearchProgress:
    """Shows the progress of a search; its methods may be called from any thread."""

    def __init__(
        self,
        *,
        total: int,
        epochs: int,
        budget: int,
        objective: Objective,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """total: trials; epochs: to be trained, of all trials; clock: returns seconds."""
        self._clock, self._began = clock, clock()
        self._total, self._planned, self._budget = total, epochs, budget
        self._objective = objective
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._labels: dict[str, str] = {}
        self._cached: set[str] = set()
        self._best: tuple[Scores, str] | None = None
        self._counts = _Counts()
        self._stop_display: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - slow to import
            from rich.live import Live  # noqa: PLC0415

            live = Live(
                get_renderable=self._table, console=Console(stderr=True), refresh_per_second=4
            )
            live.start()
            self._stop_display = live.stop
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self._stop_display()

    def trial_started(self, spec: TrialSpec, differences: dict[str, str], *, cached: bool) -> None:
        key, label = spec.key, label_of(differences)
        with self._lock:
            self._labels[key] = label
            if cached:
                self._counts.cached += 1
                self._cached.add(key)
            else:
                self._running[key] = _Running(label)

    def epoch(self, key: str, record: EpochRecord) -> None:
        with self._lock:
            self._counts.epochs += 1
            label = self._labels.get(key, "")
            running = self._running.setdefault(key, _Running(label))
            running.epochs, running.scores = record.epoch, record.scores
            self._update_best(record.scores, label)

    def pause(self, key: str) -> None:
        """Remove a trial from those shown as running; it may continue later."""
        with self._lock:
            self._running.pop(key, None)

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None:
        with self._lock:
            self._running.pop(outcome.key, None)
            label = self._labels.get(outcome.key, "")
            if isinstance(outcome, TrialFailure):
                self._counts.failed += 1
                self._write_line(f"failed   {label}: {outcome.reason}")
                return
            self._update_best(outcome.scores, label)
            self._counts.finished += 1
            self._counts.pruned += pruned
            cached = outcome.key in self._cached
            how = "cached" if cached else f"{outcome.epochs} epochs, {outcome.seconds:.1f} s"
            how = f"pruned, {how}" if pruned else how
            self._write_line(
                f"{self._done()}/{self._total}  {label}: {format_scores(outcome.scores)} ({how})"
            )

    def _update_best(self, scores: Scores, label: str) -> None:
        by = self._objective
        if self._best is None or scores.badness(by) < self._best[0].badness(by):
            self._best = (scores, label)

    def _done(self) -> int:
        return self._counts.finished + self._counts.failed

    def _write_line(self, line: str) -> None:
        if not sys.stderr.isatty():
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _table(self) -> "Table":
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - slow to import
        from rich.table import Table  # noqa: PLC0415

        with self._lock:
            table = Table(title=self._headline(), title_justify="left", expand=False)
            for column in ("trial", "epochs", "", "validation"):
                table.add_column(column)
            for running in list(self._running.values())[:_ROWS_SHOWN]:
                bar = ProgressBar(total=self._budget, completed=running.epochs, width=24)
                scores = format_scores(running.scores) if running.scores else "first epoch"
                table.add_row(running.label, f"{running.epochs}/{self._budget}", bar, scores)
            table.caption = self._best_line()
            return table

    def _headline(self) -> str:
        counts = self._counts
        return (
            f"{self._done()} of {self._total} trials done, {len(self._running)} running, "
            f"{counts.cached} cached, {counts.pruned} pruned, {counts.failed} failed; "
            f"{self._time_left()}"
        )

    def _time_left(self) -> str:
        if not self._counts.epochs:
            return "time left: not known yet"
        per_epoch = (self._clock() - self._began) / self._counts.epochs
        left = max(0, self._planned - self._counts.epochs) * per_epoch
        return f"about {left:.0f} s left"

    def _best_line(self) -> str:
        if self._best is None:
            return "best so far: none yet"
        return f"best so far: {format_scores(self._best[0])} ({self._best[1]})"


def format_scores(scores: Scores) -> str:
    """Return scores in one short line."""
    return (
        f"accuracy {scores.accuracy:.4f}, macro F1 {scores.f1_macro:.4f}, "
        f"cross-entropy {scores.cross_entropy:.4f}"
    )


class TrialObserver(Protocol):
    """Receives each trial's start, epochs and end; called from any thread, and must not raise."""

    def trial_started(
        self, spec: TrialSpec, differences: dict[str, str], *, cached: bool
    ) -> None: ...

    def epoch(self, key: str, record: EpochRecord) -> None: ...

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None: ...


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[TrialObserver]) -> None:
        self._observers = tuple(observers)

    def trial_started(self, spec: TrialSpec, differences: dict[str, str], *, cached: bool) -> None:
        for observer in self._observers:
            observer.trial_started(spec, differences, cached=cached)

    def epoch(self, key: str, record: EpochRecord) -> None:
        for observer in self._observers:
            observer.epoch(key, record)

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None:
        for observer in self._observers:
            observer.trial_finished(outcome, pruned=pruned)
