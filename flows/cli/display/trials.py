"""`pitchpipe trials` and `trials show`: the trial store as rows and as a curve in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from flows.cli.display.tables import Column, fitted_table, score_columns
from flows.datasets.current import PREPARED
from flows.engines.devices import device_for
from flows.records.lineage import flattened
from flows.records.trial_store import StoredTrial, find_trial, stored_trials
from flows.search.progress import shown
from models.datasets.prepared import read_manifest
from models.errors import PitchpipeError
from models.search.proposals import short_names
from models.training.source import package_versions, training_source_digest
from models.trials import Device, Scores, TrialFailure, TrialResult

CURVES = {
    "train loss": "train_loss",
    "validation loss": "validation_loss",
    "validation accuracy": "validation_accuracy",
}
"""Title -> field of EpochRecord."""
_BARS = " ▁▂▃▄▅▆▇█"
_CURVE = 40
"""Columns of a curve: 80 less its title and two numbers."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as it is listed."""

    trial: StoredTrial
    here: "Here"

    @property
    def origin(self) -> str:
        """Where it comes from: `cached` where a run of now would take it, else what is not of now.

        Nothing for a trial of now that has no result.
        """
        spec = self.trial.spec
        elsewhere = [
            what
            for what, now, then in (
                ("other data", self.here.dataset, spec.dataset),
                ("older code", self.here.source, spec.source),
                ("other packages", self.here.versions, spec.versions),
                ("other device", self.here.device, spec.device),
            )
            if now != then
        ]
        finished = isinstance(self.trial.outcome, TrialResult)
        return ", ".join(elsewhere) or ("cached" if finished else "")

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

    def curve(self, name: str) -> list[float]:
        """A field of each epoch's record."""
        return [float(getattr(record, name)) for record in self.trial.history]

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
            "cached": self.origin == "cached",
            "from": self.origin or None,
            "dataset": trial.spec.dataset,
            "source": trial.spec.source,
            "versions": dict(trial.spec.versions),
            "reason": outcome.reason if isinstance(outcome, TrialFailure) else None,
        }
        if history:
            row["history"] = [record.model_dump() for record in trial.history]
        return row


@dataclass(frozen=True, slots=True)
class Here:
    """What trials would be trained on now."""

    dataset: str | None
    """Digest of the prepared arrays; null where there are none."""
    source: str
    versions: dict[str, str]
    device: Device
    """Kind of processor that `run` trains on unless it is told otherwise."""

    @classmethod
    def now(cls) -> "Here":
        """Look it up."""
        source, versions = training_source_digest(), package_versions()
        return cls(_current_dataset(), source, versions, device_for("auto"))


def leaderboard(*, everything: bool) -> list[TrialRow]:
    """Trials of the current dataset and code, or all; best first, unfinished and failed last."""
    here = Here.now()
    trials = [TrialRow(trial, here) for trial in stored_trials()]
    if not everything:
        now = (here.dataset, here.source)
        trials = [row for row in trials if (row.trial.spec.dataset, row.trial.spec.source) == now]
    return sorted(trials, key=_place)


def row_of(key: str) -> TrialRow:
    """The trial whose key begins so. Raises ConfigError for none or several."""
    return TrialRow(find_trial(key), Here.now())


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
    console.print(_table(listed, width=console.width))


def _table(listed: list[TrialRow], *, width: int) -> Table:
    configs = [flattened(row.trial.spec.config) for row in listed]
    return fitted_table(
        (
            Column("key", [row.trial.key[:8] for row in listed]),
            Column("state", [row.trial.state for row in listed]),
            *(
                Column(name, [config.get(axis, "") for config in configs], axis=True)
                for axis, name in short_names(_differing(configs)).items()
            ),
            *score_columns([row.scores for row in listed]),
            Column("epochs", [str(len(row.trial.history)) for row in listed]),
            Column("s", [f"{row.seconds:.0f}" for row in listed], spare=2),
            Column("from", [row.origin for row in listed], spare=1),
        ),
        width=width,
    )


def _differing(configs: list[dict[str, str]]) -> list[str]:
    """Fields that differ among the configs that have them: a kind's own defaults tell nothing."""
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: {config[name] for config in configs if name in config} for name in names}
    return [name for name, found in values.items() if len(found) > 1]


def print_trial(row: TrialRow) -> None:
    """Print one trial's config, scores and validation curves."""
    console, trial = Console(markup=False), row.trial
    origin = f", {row.origin}" if row.origin else ""
    console.print(f"trial {trial.key}\nstate {trial.state}{origin}", highlight=False)
    if isinstance(trial.outcome, TrialFailure):
        console.print(f"reason {trial.outcome.reason}", highlight=False)
    for name, value in flattened(trial.spec.config).items():
        console.print(f"  {name}: {value}", highlight=False)
    if row.scores:
        console.print(f"validation {shown(row.scores)}", highlight=False)
    for title, name in CURVES.items():
        if values := row.curve(name):
            console.print(curve_line(title, values), highlight=False)


def curve_line(title: str, values: list[float], *, among: Sequence[float] = ()) -> str:
    """One curve in at most 80 columns, on the scale of all numbers it is shown among."""
    bars = sparkline(thinned(values), low=min((*values, *among)), high=max((*values, *among)))
    return f"{title:>20} {bars} {values[0]:.4f} -> {values[-1]:.4f}"


def thinned(values: list[float]) -> list[float]:
    """At most 40 of the numbers, evenly spaced, the first and the last among them."""
    if len(values) <= _CURVE:
        return values
    return [values[round(place * (len(values) - 1) / (_CURVE - 1))] for place in range(_CURVE)]


def sparkline(values: list[float], *, low: float, high: float) -> str:
    """Draw numbers as bars between low and high."""
    if high == low:
        return _BARS[4] * len(values)
    steps = len(_BARS) - 2
    return "".join(_BARS[1 + round((value - low) / (high - low) * steps)] for value in values)
