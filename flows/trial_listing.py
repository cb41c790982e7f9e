"""`pitchpipe trials` and `trials show`: the trial store as rows and as a curve in the terminal."""

from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console

from flows.dataset_version import PREPARED
from flows.lineage import flattened
from flows.progress import shown
from flows.tables import SCORE_HEADINGS, score_cells, trial_table
from flows.trial_store import StoredTrial, find_trial, stored_trials
from models.config import TrialConfig
from models.datasets.prepared import read_manifest
from models.errors import PitchpipeError
from models.training.source import training_source_digest
from models.trials import Scores, TrialFailure, TrialResult

_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as it is listed."""

    trial: StoredTrial

    @property
    def scores(self) -> Scores | None:
        """Validation scores of the best epoch; of the last one while it is unfinished."""
        if isinstance(self.trial.outcome, TrialResult):
            return self.trial.outcome.scores
        return self.trial.history[-1].scores if self.trial.history else None

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return round(sum(record.seconds for record in self.trial.history), 3)

    def document(self, *, history: bool = False) -> dict[str, JsonValue]:
        """As `--json` prints it."""
        trial, outcome = self.trial, self.trial.outcome
        row: dict[str, JsonValue] = {
            "key": trial.key,
            "state": trial.state,
            "config": trial.spec.config.model_dump(mode="json"),
            "scores": self.scores.model_dump() if self.scores else None,
            "epochs": len(trial.history),
            "seconds": self.seconds,
            "cached": isinstance(outcome, TrialResult),
            "dataset": trial.spec.dataset,
            "reason": outcome.reason if isinstance(outcome, TrialFailure) else None,
        }
        if history:
            row["history"] = [record.model_dump() for record in trial.history]
        return row


def rows(*, everything: bool) -> list[TrialRow]:
    """Trials of the current dataset and code, or all; best first, unfinished and failed last."""
    trials = [TrialRow(trial) for trial in stored_trials()]
    if not everything:
        dataset, source = _current_dataset(), training_source_digest()
        trials = [
            row
            for row in trials
            if row.trial.spec.dataset == dataset and row.trial.spec.source == source
        ]
    return sorted(trials, key=_place)


def row_of(key: str) -> TrialRow:
    """The trial whose key begins so. Raises ConfigError for none or several."""
    return TrialRow(find_trial(key))


def _current_dataset() -> str | None:
    try:
        return read_manifest(PREPARED).digest
    except PitchpipeError:
        return None


def _place(row: TrialRow) -> tuple[bool, tuple[float, float], str]:
    finished = isinstance(row.trial.outcome, TrialResult)
    scores = row.scores
    worst = (float("inf"), float("inf"))
    best = scores.badness(row.trial.spec.config.objective) if scores else worst
    return (not finished, best, row.trial.key)


def print_rows(listed: list[TrialRow]) -> None:
    """Print a table; columns of the config only where trials differ."""
    console = Console(markup=False)
    if not listed:
        console.print("No trial on the current dataset and code; --all shows the rest.")
        return
    axes = _differing([row.trial.spec.config for row in listed])
    table = trial_table(("key", "state", *axes, *SCORE_HEADINGS, "epochs", "s"))
    for row in listed:
        config = flattened(row.trial.spec.config)
        table.add_row(
            row.trial.key[:8],
            row.trial.state,
            *(config.get(axis, "") for axis in axes),
            *score_cells(row.scores),
            str(len(row.trial.history)),
            f"{row.seconds:.0f}",
        )
    console.print(table)


def _differing(configs: list[TrialConfig]) -> list[str]:
    flat = [flattened(config) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config)
    return [name for name in names if len({config.get(name, "") for config in flat}) > 1]


def print_trial(row: TrialRow) -> None:
    """Print one trial's config, scores and validation curves."""
    console, trial = Console(markup=False), row.trial
    console.print(f"trial {trial.key}\nstate {trial.state}", highlight=False)
    if isinstance(trial.outcome, TrialFailure):
        console.print(f"reason {trial.outcome.reason}", highlight=False)
    for name, value in flattened(trial.spec.config).items():
        console.print(f"  {name}: {value}", highlight=False)
    if row.scores:
        console.print(f"validation {shown(row.scores)}", highlight=False)
    for title, values in (
        ("train loss", [record.train_loss for record in trial.history]),
        ("validation loss", [record.validation_loss for record in trial.history]),
        ("validation accuracy", [record.validation_accuracy for record in trial.history]),
    ):
        if values:
            console.print(
                f"{title:>20} {sparkline(values)} {values[0]:.4f} -> {values[-1]:.4f}",
                highlight=False,
            )


def sparkline(values: list[float]) -> str:
    """Draw numbers as bars between their least and their greatest."""
    low, high = min(values), max(values)
    if high == low:
        return _BARS[4] * len(values)
    steps = len(_BARS) - 2
    return "".join(_BARS[1 + round((value - low) / (high - low) * steps)] for value in values)
