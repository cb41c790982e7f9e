"""What the data that came since the last retraining is worth, for `run --dry-run`."""

from collections.abc import Mapping

from flows.datasets.files import SAMPLE_SHEETS
from flows.records.data_value import latest_value
from flows.records.looks import GateOutlook
from flows.records.trial_store import stored_trials
from flows.retraining.decide import last_of_name
from models.config import Params, Record, read_record
from models.datasets.prepared import MANIFEST, Manifest
from models.decision import NewData
from models.evaluation.records import LearningCurve
from models.trials import TrialResult


class DataWorth(Record):
    """Amount of the new data, and the gain that it promises beside what can be shown."""

    new: NewData | None
    """Since the last retraining; null where that is not known."""
    curve: LearningCurve | None
    """From trials in the store; null: unmeasured."""
    detectable: float | None
    """True lead in accuracy that the test split shows with a power of 80 %; null: not known."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        amount = self.new.sentence if self.new else "unknown number of new images"
        if self.curve is None:
            return (
                f"{amount}; what they are worth is unmeasured: `pitchpipe data worth` says it, or "
                "trials of one config and budget of epochs on three sizes of this dataset"
            )
        return f"{amount}; {self.curve.sentence}{self._beside()}"

    def _beside(self) -> str:
        if self.curve is None or self.detectable is None:
            return ""
        if self.curve.interval.high < self.detectable:
            return ": less than the test split can show"
        if self.curve.interval.low >= self.detectable:
            return ": enough for the test split to show it"
        return ": whether the test split can show it is open"


def data_worth(
    params: Params, manifest: Manifest, *, new: NewData | None, gate: GateOutlook | None
) -> DataWorth:
    """Weigh what came since the last retraining of the params' name."""
    return DataWorth(
        new=new,
        curve=_measured(params, manifest, new) or _curve(params, manifest),
        detectable=gate.detectable if gate else None,
    )


def _measured(params: Params, manifest: Manifest, new: NewData | None) -> LearningCurve | None:
    """Return what `data worth` measured on fractions of this dataset, if it was asked."""
    value = latest_value(params.registered_name, manifest.name)
    if value is None or new is None or not new.images:
        return None
    found = value.expected(new.images)
    return LearningCurve(
        sizes=len(value.points),
        trials=sum(len(point.errors) for point in value.points),
        gain=found.value,
        interval=found.interval,
    )


def _curve(params: Params, manifest: Manifest) -> LearningCurve | None:
    """Fit the curve of the config and budget of epochs that were trained on most sizes."""
    trained: dict[str, Manifest] = {}
    for path in SAMPLE_SHEETS.glob(f"*/{MANIFEST}"):
        found = read_record(path, Manifest)
        if found is not None and found.name == manifest.name:
            trained[found.digest] = found
    last = last_of_name(params.registered_name)
    before = [one for one in trained.values() if last and one.raw_digest == last.fingerprint.data]
    if not before:
        return None
    points = _points({digest: one.splits["train"].images for digest, one in trained.items()})
    most = max(points.values(), key=lambda one: len({size for size, _ in one}), default=[])
    return _fitted(most, before[-1].splits["train"].images, manifest.splits["train"].images)


def _points(sizes: Mapping[str, int]) -> dict[tuple[str, int], list[tuple[int, float]]]:
    """(config of any seed, budget in epochs) -> (train images, validation error) of its trials.

    sizes: digest of prepared arrays -> train images. Trials on part of them are no points, and
    neither are refits: they are trained on more images, and have no validation of their own.
    """
    points: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for trial in stored_trials():
        spec, outcome = trial.spec, trial.outcome
        if spec.refit or spec.subset is not None or spec.dataset not in sizes:
            continue
        if isinstance(outcome, TrialResult):
            config = spec.config.model_copy(update={"seed": 0}).model_dump_json()
            error = 1 - outcome.scores.accuracy
            points.setdefault((config, outcome.budget), []).append((sizes[spec.dataset], error))
    return points


def _fitted(points: list[tuple[int, float]], before: int, now: int) -> LearningCurve | None:
    if len({size for size, _ in points}) < 3:
        return None
    from models.evaluation.data_value.learning_curve import learning_curve  # noqa: PLC0415 - scipy

    sizes, errors = zip(*points, strict=True)
    return learning_curve(sizes, errors, before=before, now=now)
