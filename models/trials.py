"""Trials: specification, scores, outcomes, and the files of a trial's directory."""

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from models.config import Record, TrialConfig, read_record, read_record_lines
from models.config.trial import Objective
from models.digests import digest_of

Device = Literal["cpu", "cuda"]


class TrialFiles:
    """File names in mlruns/trials/<key>/; result or failure is written last, atomically.

    START is there from the beginning, where the trial begins with a parent's weights.
    """

    SPEC = "trial.json"
    START = "start.safetensors"
    HISTORY = "history.jsonl"
    LAST = "last.ckpt"
    BEST = "best.ckpt"
    RESULT = "result.json"
    FAILURE = "failure.json"


_LATER_FIELDS: tuple[tuple[str, str, JsonValue], ...] = (
    ("", "start", None),
    ("", "mixing", {"name": "none"}),
    ("", "class_weights", "none"),
    ("", "sampling", "uniform"),
    ("", "focal_gamma", 0.0),
    ("", "learning_rate_scaling", {"rule": "none", "base": 32}),
    ("optimizer", "epsilon", 1e-8),
    ("optimizer", "bias_correction", True),
    ("optimizer", "decay_biases_and_norms", False),
    ("network", "kernel", 3),
    ("network", "padding", "none"),
    ("network", "normalisation", "none"),
    ("network", "head", "flattened"),
    ("network", "bidirectional", False),
    ("network", "states", "last"),
)
"""Section and name of fields that earlier releases did not know, with what they did instead: at
these values they are not in the key, so that stored trials keep theirs."""


class Subset(Record):
    """Part of the train split that a trial is trained on, chosen by the images' digests."""

    fraction: float = Field(gt=0, lt=1)
    """Probability of each image to be in it; a smaller fraction is contained in a larger one."""
    draw: int = Field(0, ge=0, lt=2**31)
    """Number of the choice; those of other numbers are independent."""
    only: int | None = Field(None, ge=0)
    """Index of the class that the fraction is of, beside all images of the others; null: of all."""


class TrialSpec(Record):
    """Everything that determines a trial's weights to the bit, except the epoch budget."""

    config: TrialConfig
    dataset: str
    """Digest of the prepared arrays."""
    source: str
    """Digest of the source files of training."""
    versions: dict[str, str]
    """Package -> version: torch, pytorch-lightning, numpy."""
    device: Device = "cpu"
    """Kind of processor that it is trained on."""
    refit: bool = False
    """Whether it is trained on train and validation together. It has no validation of its own: its
    history says what `refitted` scored at each epoch."""
    subset: Subset | None = None
    """Train images that it is trained on; null: all. An epoch has as many as all are, so that there
    are as many steps: images of a subset come several times."""
    instructions: str | None = None
    """Instruction set of the CPU that it is trained on, such as AVX512; null: on a GPU, or not
    known, as in earlier releases, whose keys stay as they were."""

    @property
    def key(self) -> str:
        """Identity of the trial: 64 hex digits."""
        facts = self.model_dump(mode="json")
        start = self.config.start
        # Weights by their content, whatever they were called: a champion's are a version's.
        facts["config"]["start"] = start.identity if start is not None else None
        if self.instructions is None:
            del facts["instructions"]
        for section, field, default in _LATER_FIELDS:
            fields = facts["config"][section] if section else facts["config"]
            if fields.get(field) == default:
                del fields[field]
        for field, default in (("refit", False), ("subset", None)):
            if facts[field] == default:  # which earlier releases did not know
                del facts[field]
        return digest_of(facts)

    @property
    def refitted(self) -> "TrialSpec":
        """The trial that a refit is of."""
        return self.model_copy(update={"refit": False})


class Scores(Record):
    """Scores on one split: accuracy and F1 higher, cross-entropy lower is better."""

    accuracy: float
    """Share of images whose most probable class is the true one."""
    f1_macro: float
    """Unweighted mean of F1 over the classes that the split has images of."""
    cross_entropy: float
    """Mean negative log-probability of the true class, nats."""

    def gain(self, by: Objective) -> float:
        """The objective's score, signed so that more is better."""
        return -self.cross_entropy if by == "cross_entropy" else float(getattr(self, by))

    def badness(self, by: Objective) -> tuple[float, float]:
        """Sorting key: lower is better; cross-entropy breaks ties."""
        return (-self.gain(by), self.cross_entropy)


class EpochRecord(Record):
    """A line of history.jsonl: an epoch of training, and its validation."""

    epoch: int
    """Epochs finished, from 1."""
    train_loss: float
    """Mean over the epoch's images of the loss that was minimised, nats."""
    train_accuracy: float
    """Share right while training (weights change during the epoch)."""
    validation_loss: float
    """Cross-entropy on validation, nats."""
    validation_accuracy: float
    validation_f1_macro: float
    learning_rate: float
    """Of the epoch's last step."""
    seconds: float
    """Wall time of the epoch, validation included; not part of any digest."""

    @property
    def scores(self) -> Scores:
        """Validation scores of this epoch."""
        return Scores(
            accuracy=self.validation_accuracy,
            f1_macro=self.validation_f1_macro,
            cross_entropy=self.validation_loss,
        )


def read_history(directory: Path) -> tuple[EpochRecord, ...]:
    """Return a trial's epochs from the first, up to a line that is damaged or out of order."""
    records: list[EpochRecord] = []
    history = directory / TrialFiles.HISTORY
    for record in read_record_lines(history, EpochRecord.model_validate_json):
        if record is None or record.epoch != len(records) + 1:
            break
        records.append(record)
    return tuple(records)


class TrialResult(Record):
    """Result of a trial that was trained to its budget, or stopped early without progress."""

    key: str
    config: TrialConfig
    budget: int
    """Epochs asked for."""
    epochs: int
    """Epochs trained."""
    best_epoch: int
    """Epoch whose weights `checkpoint` holds: the best by config.objective."""
    scores: Scores
    """Validation scores of the best epoch."""
    seconds: float
    """Training time, summed over resumptions."""
    checkpoint: str
    """File of the best weights in the trial's directory."""
    checkpoint_digest: str
    """SHA-256 of that file."""
    weights_digest: str
    """SHA-256 over names and bytes of the best weights: equal bits, equal digest."""


class TrialFailure(Record):
    """Failure of a trial; recorded like a result, and never selected."""

    key: str
    config: TrialConfig
    budget: int
    epochs: int
    """Epochs finished before it failed."""
    reason: str
    """In one line."""
    kind: Literal["diverged", "out of memory", "error", "killed", "timed out"]
    """diverged: a loss or weight that is not finite. timed out: no epoch ended for too long."""
    limit_minutes: float | None = None
    """timed out: value of search.trial_timeout_minutes then."""

    def stands(self, limit_minutes: float | None) -> bool:
        """Whether training again, to a budget beyond the finished epochs, would fail likewise.

        limit_minutes: that of the next attempt; null: none. Divergence is as repeatable as success,
        and whoever was too slow for a limit is so for a shorter one.
        """
        if self.kind == "timed out" and self.limit_minutes is not None:
            return limit_minutes is not None and limit_minutes <= self.limit_minutes
        return self.kind == "diverged"


Outcome = TrialResult | TrialFailure


def result_path(directory: Path, budget: int) -> Path:
    """Path of the result of one epoch budget; result.json is that of the largest."""
    return directory / "results" / f"{budget:06d}.json"


def read_result(path: Path) -> TrialResult | None:
    """Read a result; None where it is missing or cannot be read."""
    return read_record(path, TrialResult)


def read_outcome(directory: Path, budget: int | None = None) -> Outcome | None:
    """Return the outcome of a trial within `budget` epochs; None while it is unknown.

    The result of a trial that stopped early holds for every larger budget; a failure for every
    budget beyond the epochs that were finished. Without a budget: the result of the largest, else
    the failure.
    """
    largest = read_result(directory / TrialFiles.RESULT)
    if budget is None:
        return largest or read_record(directory / TrialFiles.FAILURE, TrialFailure)
    asked = read_result(result_path(directory, budget))
    if asked is not None:
        return asked
    if largest is not None and largest.epochs < largest.budget and largest.epochs <= budget:
        return largest.model_copy(update={"budget": budget})
    failure = read_record(directory / TrialFiles.FAILURE, TrialFailure)
    return failure if failure is not None and failure.epochs < budget else None
