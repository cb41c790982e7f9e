"""`pitchpipe trials` and `trials show`: trials of the store as rows of a table and as curves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from flows.cli.display.sparklines import Scale, curve_line, sparkline, thin
from flows.cli.display.tables import ALIKE, Column, fitted_table, mark_of, score_columns
from flows.datasets.current import known_manifests, prepared_manifest
from flows.engines.devices import device_for
from flows.records.lineage import flattened
from flows.records.trial_store import StoredTrial, find_trial, stored_trials
from flows.search.progress import format_scores
from models.config.trial import Objective
from models.datasets.prepared import Manifest
from models.digests import digest_of
from models.evaluation.records import FromBest
from models.search.proposals import short_names
from models.training.source import package_versions, training_source_digest
from models.trials import Device, Scores, TrialFailure, TrialResult

CURVES = {
    "train loss": "train_loss",
    "validation loss": "validation_loss",
    "validation accuracy": "validation_accuracy",
}
"""Title -> field of EpochRecord."""
_CURVE = 10
"""Bars of a curve in the table."""
_UNTESTED = "?"
_ROWS = 30
"""Rows that people are shown by default."""
_STYLES = {"finished": "", "failed": "red"}
"""Of states; of the others, which may go on, yellow."""
_WORDS: dict[Objective, str] = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "cross_entropy": "cross-entropy",
}


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What decides a trial's bits beside its config, as training would have it now."""

    dataset: str | None
    """Digest of the prepared arrays; null where nothing is prepared."""
    source: str
    versions: dict[str, str]
    device: Device
    """Kind of processor that `run` trains on by default."""

    @classmethod
    def current(cls, dataset: Manifest | None) -> "TrainingInputs":
        """Those of this installation, with a dataset."""
        digest, source = dataset.digest if dataset else None, training_source_digest()
        return cls(digest, source, package_versions(), device_for("auto"))


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as it is listed."""

    trial: StoredTrial
    current: TrainingInputs
    dataset: str | None = None
    """Name of its dataset; null where that is not known."""
    from_best: FromBest | None = None
    """Paired test against the first row; null: it is that, or its predictions are not stored."""

    @property
    def origin(self) -> str:
        """`cached` where a run would use it now, else the inputs that differ.

        Empty for a trial with today's inputs and no result.
        """
        spec, current = self.trial.spec, self.current
        differing = [
            name
            for name, now, then in (
                ("other data", current.dataset, spec.dataset),
                ("older code", current.source, spec.source),
                ("other packages", current.versions, spec.versions),
                ("other device", current.device, spec.device),
            )
            if now != then
        ]
        finished = isinstance(self.trial.outcome, TrialResult)
        return ", ".join(differing) or ("cached" if finished else "")

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
            "from_best": self.from_best.model_dump() if self.from_best else None,
            "cached": self.origin == "cached",
            "from": self.origin or None,
            "dataset": trial.spec.dataset,
            "dataset_name": self.dataset,
            "source": trial.spec.source,
            "versions": dict(trial.spec.versions),
            "reason": outcome.reason if isinstance(outcome, TrialFailure) else None,
        }
        if history:
            row["history"] = [record.model_dump() for record in trial.history]
        return row


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Trials, best first by one objective, unfinished and failed ones last."""

    rows: tuple[TrialRow, ...]
    objective: Objective
    dataset: str | None
    """Name and digest of the one dataset of all rows; null where they may have several."""


def leaderboard(objective: Objective, *, dataset: str | None, everything: bool) -> Leaderboard:
    """Rank the stored trials of one dataset that were trained by the current code.

    objective: what to sort by where the trials do not share one.
    dataset: its name; null: the one that is prepared.
    everything: also trials of other datasets and older code.
    Of trials with one config, other packages or devices, only the one that a run would use.
    """
    manifests = known_manifests()
    mine = next((one for one in manifests if one.name == dataset), None)
    if dataset is None:
        mine = prepared_manifest()
    current, names = TrainingInputs.current(mine), {one.digest: one.name for one in manifests}
    rows = [
        TrialRow(one, current, names.get(one.spec.dataset))
        for one in stored_trials()
        if not one.spec.refit and one.spec.subset is None
    ]
    if not everything:
        now = (current.dataset, current.source)
        rows = [row for row in rows if (row.trial.spec.dataset, row.trial.spec.source) == now]
        rows = _without_repeats(rows)
    objectives = {row.trial.spec.config.objective for row in rows}
    by = objectives.pop() if len(objectives) == 1 else objective
    title = f"{mine.name} {mine.digest[:8]}" if mine and not everything else None
    rows = sorted(rows, key=lambda row: _place(row, by))
    return Leaderboard(tuple(rows if everything else _compared(rows, by)), by, title)


def find_row(key: str) -> TrialRow:
    """The trial whose key begins so. Raises ConfigError for none or several."""
    return TrialRow(find_trial(key), TrainingInputs.current(prepared_manifest()))


def _compared(rows: Sequence[TrialRow], by: Objective) -> list[TrialRow]:
    """Add the paired tests against the first row, by the predictions that are stored."""
    from flows.retraining.compare import told_apart_by_store

    outcomes = [row.trial.outcome for row in rows]
    results = [outcome for outcome in outcomes if isinstance(outcome, TrialResult)]
    tests = told_apart_by_store(results, by)
    return [replace(row, from_best=tests.get(row.trial.key)) for row in rows]


def _without_repeats(rows: Iterable[TrialRow]) -> list[TrialRow]:
    kept: dict[str, TrialRow] = {}
    for row in sorted(rows, key=lambda row: row.origin != "cached"):
        kept.setdefault(digest_of(row.trial.spec.config), row)
    return list(kept.values())


def _place(row: TrialRow, by: Objective) -> tuple[bool, tuple[float, float], str]:
    finished = isinstance(row.trial.outcome, TrialResult)
    badness = row.scores.badness(by) if row.scores else (float("inf"), float("inf"))
    return (not finished, badness, row.trial.key)


def print_leaderboard(board: Leaderboard, *, limit: int | None) -> None:
    """Print the first rows as a table; columns of the config only where trials differ.

    limit: null means 30.
    """
    console = Console(markup=False, highlight=False)
    rows = board.rows[: limit or _ROWS]
    if not rows:
        console.print("No trial of this dataset by the current code; --all shows the rest.")
        return
    console.print(_table(rows, board, console))
    if marks := _marks(rows):
        untested = f"; {_UNTESTED}: not tested, its predictions are not stored"
        console.print(
            f"{ALIKE}: not distinguishable from the first by paired tests (Holm, 5 %)"
            f"{untested if _UNTESTED in marks[0].cells else ''}"
        )
    if len(rows) < len(board.rows):
        console.print(f"{len(board.rows) - len(rows)} more: --limit {len(board.rows)}")


def _table(rows: Sequence[TrialRow], board: Leaderboard, console: Console) -> Table:
    configs = [flattened(row.trial.spec.config) for row in rows]
    datasets = [] if board.dataset else [Column("dataset", [_dataset_of(row) for row in rows])]
    return fitted_table(
        (
            Column("key", [row.trial.key[:8] for row in rows], styles=("cyan",) * len(rows)),
            *_marks(rows),
            *datasets,
            Column(
                "state",
                [row.trial.state for row in rows],
                styles=[_STYLES.get(row.trial.state, "yellow") for row in rows],
            ),
            *(
                Column(name, [config.get(axis, "") for config in configs], axis=True)
                for axis, name in short_names(_differing(configs)).items()
            ),
            *score_columns([row.scores for row in rows]),
            _curves(rows, ascii_only=console.options.ascii_only),
            Column("epochs", [str(len(row.trial.history)) for row in rows]),
            Column("s", [f"{row.seconds:.0f}" for row in rows], spare=2),
            Column("from", [row.origin for row in rows], spare=1),
        ),
        width=console.width,
        title=f"{board.dataset or 'all datasets'}, by validation {_WORDS[board.objective]}",
    )


def _curves(rows: Sequence[TrialRow], *, ascii_only: bool) -> Column:
    """Validation accuracy over the epochs, on one scale for all rows."""
    curves = [row.curve("validation_accuracy") for row in rows]
    scale = Scale.of([value for curve in curves for value in curve])
    cells = [sparkline(thin(curve, _CURVE), scale, ascii_only=ascii_only) for curve in curves]
    # One width: bars of the same place stand below each other where as many epochs were trained.
    width = max(map(len, cells))
    padded = [cell.ljust(width) for cell in cells]
    return Column("accuracy\nby epoch", padded, spare=5, styles=("green",) * len(rows), left=True)


def _marks(rows: Sequence[TrialRow]) -> list[Column]:
    """A column of marks, where any trial has one."""
    marks = [_mark(row, is_first=place == 0) for place, row in enumerate(rows)]
    return [Column("", marks)] if ALIKE in marks else []


def _mark(row: TrialRow, *, is_first: bool) -> str:
    untested = row.from_best is None and isinstance(row.trial.outcome, TrialResult)
    return _UNTESTED if untested and not is_first else mark_of(row.from_best)


def _dataset_of(row: TrialRow) -> str:
    """Name of a row's dataset and first digits of its digest; the digits alone where unknown."""
    return " ".join(filter(None, (row.dataset, row.trial.spec.dataset[:6])))


def _differing(configs: list[dict[str, str]]) -> list[str]:
    """Fields that differ among the configs that have them: a kind's own defaults tell nothing."""
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: {config[name] for config in configs if name in config} for name in names}
    return [name for name, found in values.items() if len(found) > 1]


def print_trial(row: TrialRow) -> None:
    """Print one trial's config, scores and validation curves."""
    console, trial = Console(markup=False, highlight=False), row.trial
    origin = f", {row.origin}" if row.origin else ""
    console.print(f"trial {trial.key}\nstate {trial.state}{origin}")
    if isinstance(trial.outcome, TrialResult):
        console.print(f"weights of epoch {trial.outcome.best_epoch} of {trial.outcome.epochs}")
    if isinstance(trial.outcome, TrialFailure):
        console.print(f"reason {trial.outcome.reason}")
    for name, value in flattened(trial.spec.config).items():
        console.print(f"  {name}: {value}")
    if row.scores:
        console.print(f"validation {format_scores(row.scores)}")
    for title, name in CURVES.items():
        if values := row.curve(name):
            console.print(curve_line(console, title, values))
