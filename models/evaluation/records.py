"""Scores of an evaluation; light to import, so that reading one needs no scikit-learn."""

from pydantic import Field, JsonValue

from models.config.trial import Objective
from models.evaluation.confusion import ConfusionMatrix
from models.record import Record
from models.trials import Scores


class Interval(Record):
    """Confidence interval of a score, at 95 % unless its owner says otherwise."""

    low: float
    high: float


class Calibration(Record):
    """Temperature scaling of a version's logits (Guo et al., 2017)."""

    temperature: float = Field(gt=0)
    """By which logits are divided: above 1 where the network was too sure of itself."""
    images: int = Field(ge=1)
    """Of validation, on which it was fitted."""
    uncalibrated_ece: float
    """Calibration error on test without it."""
    uncalibrated_cross_entropy: float
    """On test without it, nats."""


class Lead(Record):
    """Lead in accuracy of one classifier over another on the same images."""

    images: int = Field(ge=1)
    ahead: int
    """Images that only the first has right."""
    behind: int
    """Images that only the other has right."""
    accuracy: float
    """Difference of accuracies, the first minus the other."""
    interval: Interval
    """Its 95 % interval: Tango's score interval (1998)."""
    p_value: float
    """Of the exact McNemar test, two-sided."""


class Baseline(Record):
    """A simple classifier or the article's network, for comparison with the trials."""

    name: str
    scores: Scores
    """On validation."""
    lead: Lead | None = None
    """Of the selected trial over it, on the same images; null in records of earlier releases."""


class Optimism(Record):
    """How much too good the selected trial's validation score is, for it was selected by it."""

    objective: Objective
    """The score that decided."""
    validation: float
    """Best score on the images."""
    excess: float
    """Estimate of how much better that is than on new images, in the score's unit; negative where
    it is not."""
    trials: int
    """Among which was chosen."""
    images: int
    """Of validation, from which was drawn."""

    @property
    def sentence(self) -> str:
        """Estimate in words: `optimism: +1.2 points`, and the score without it."""
        if self.objective == "cross_entropy":
            score, excess = self.validation + self.excess, f"{self.excess:+.4f} nats"
        else:
            score, excess = self.validation - self.excess, f"{100 * self.excess:+.1f} points"
        name = self.objective.replace("f1_macro", "macro F1").replace("_", "-")
        return (
            f"optimism: {excess}, by the choice among {self.trials} trials on {self.images:,} "
            f"validation images; without it {name} is about {score:.4f}"
        )


class FromBest(Record):
    """A trial against the selected one: a paired test on the same validation images."""

    p_value: float
    """Two-sided, of "they are alike"; well above the level it is an estimate from few draws."""
    distinguishable: bool
    """Whether Holm's procedure over all trials tested refuses that at 5 %."""

    @property
    def words(self) -> str:
        """Such as `not distinguishable, p = 0.21`, or `p < 0.0001`."""
        p_value = "p < 0.0001" if self.p_value < 1e-4 else f"p = {self.p_value:.2g}"
        return p_value if self.distinguishable else f"not distinguishable, {p_value}"


class Distinction(Record):
    """How far validation tells the other trials from the selected one."""

    objective: Objective
    """The score that is compared."""
    images: int
    """Of validation."""
    others: int
    """Successful trials beside the selected one."""
    tested: int
    """Of these; the weights of the rest are gone, or too many are better."""
    alike: int
    """Of those tested, not distinguishable from the selected one."""

    @property
    def sentence(self) -> str:
        """Result in words, with the test and the number of trials that were not tested."""
        untested = self.others - self.tested
        which = "the other trial" if self.tested == 1 else f"{self.tested} other trials"
        if self.alike == 0:
            told = f"{which} can be told apart from the best"
        elif self.tested == 1:
            told = f"{which} is not distinguishable from the best"
        else:
            told = f"{self.alike} of {which} {_be(self.alike)} not distinguishable from the best"
        text = f"{told} on {self.images:,} validation images ({_TESTS[self.objective]}, 5 %)"
        if not untested:
            return text
        return f"{text}; {untested} {_be(untested, 'was', 'were')} not tested"


_TESTS: dict[Objective, str] = {
    "accuracy": "exact McNemar tests of accuracy with Holm's correction",
    "f1_macro": "paired permutation tests of macro F1 with Holm's correction",
    "cross_entropy": "paired permutation tests of cross-entropy with Holm's correction",
}


def _be(count: int, one: str = "is", many: str = "are") -> str:
    return one if count == 1 else many


class LearningCurve(Record):
    """How much the error is expected to fall with the images that came."""

    sizes: int
    """Different numbers of train images behind it."""
    trials: int
    gain: float
    """Fall of the validation error, 0..1."""
    interval: Interval

    @property
    def sentence(self) -> str:
        """The same in words."""
        low, high = 100 * self.interval.low, 100 * self.interval.high
        return (
            f"by the learning curve of {self.trials} trials on {self.sizes} sizes they are worth "
            f"{100 * self.gain:.2g} points [{low:.2g}, {high:.2g}]"
        )


class ClassScores(Record):
    """Scores of one class against all others."""

    name: str
    precision: float
    """Share of the images predicted as this class that are of it; 0 where none was predicted."""
    recall: float
    """Share of this class's images that were predicted as it; 0 where there are none."""
    f1: float
    """Harmonic mean of precision and recall; 0 where both are 0."""
    support: int
    """Images of this class."""
    intervals: dict[str, Interval] = Field(default_factory=dict)
    """precision, recall, f1 -> 95 % interval; without those that no image tells of, and empty in
    records of earlier releases."""


class PointScores(Record):
    """Scores of class probabilities against true labels, without intervals."""

    accuracy: float
    """Share of images whose most probable class is right; of equal ones the first counts."""
    f1_macro: float
    """Unweighted mean of F1 over the classes that have images; see `absent`."""
    f1_weighted: float
    """Mean of F1 weighted by the images of each class."""
    cross_entropy: float
    """Mean negative log-probability of the true class, nats; lower is better."""
    ece: float
    """Calibration error: mean gap of confidence and accuracy over bins; lower is better."""
    n: int = Field(ge=1)
    """Images scored."""
    per_class: tuple[ClassScores, ...]
    """In the order of the classes."""
    confusion: ConfusionMatrix
    """Images of each class by the class predicted."""

    @property
    def scores(self) -> Scores:
        """The three scores that trials and versions are compared by."""
        return Scores.model_validate(self.model_dump(include=set(Scores.model_fields)))

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without images, which macro F1 says nothing about."""
        return tuple(one.name for one in self.per_class if one.support == 0)

    @property
    def f1_scope(self) -> str:
        """Which classes macro F1 leaves out, in words; empty where it leaves out none."""
        absent, most = self.absent, 5
        more = f" and {len(absent) - most:,} more" if len(absent) > most else ""
        return f"no images of {', '.join(absent[:most])}{more}" if absent else ""

    @property
    def majority_share(self) -> float:
        """Accuracy of always predicting the most frequent class."""
        return max(scores.support for scores in self.per_class) / self.n


LATER_SCORES = (
    "balanced_accuracy",
    "mcc",
    "top_k",
    "top_k_accuracy",
    "roc_auc",
    "brier",
)
"""Fields of an evaluation that earlier releases did not have."""
FIRST_INTERVALS = ("accuracy", "f1_macro", "cross_entropy")
"""Intervals that they had."""


class Evaluation(PointScores):
    """Scores with their confidence intervals; those that may be null are so in old records."""

    balanced_accuracy: float | None = None
    """Mean recall of the classes that have images."""
    mcc: float | None = None
    """Matthews correlation coefficient of all classes (Gorodkin, 2004), -1 to 1; 0 is chance."""
    top_k: int | None = None
    """5 of more than five classes, 2 of three to five; null of two, of which any is among two."""
    top_k_accuracy: float | None = None
    """Share of images whose class is among the top_k most probable ones."""
    roc_auc: float | None = None
    """Area under the ROC curve, each class against the rest, mean over the classes that have
    images; null where all images are of one class."""
    brier: float | None = None
    """Mean squared distance of probabilities and truth, summed over classes: 0 to 2, lower is
    better (Brier, 1950)."""
    intervals: dict[str, Interval]
    """Score -> 95 % interval."""

    @property
    def first(self) -> dict[str, JsonValue]:
        """What evaluations of all releases have: by this a version is known again."""
        plain = self.model_dump(
            mode="json",
            exclude={"per_class": {"__all__": {"intervals"}}} | dict.fromkeys(LATER_SCORES, True),
        )
        kept = {
            name: plain["intervals"][name] for name in FIRST_INTERVALS if name in self.intervals
        }
        return plain | {"intervals": kept}

    @property
    def later(self) -> dict[str, float]:
        """The later scores that this one has."""
        found = {name: getattr(self, name) for name in LATER_SCORES}
        return {name: value for name, value in found.items() if value is not None}
