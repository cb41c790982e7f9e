"""What an evaluation says; light to import, so that whoever reads one needs no scikit-learn."""

from pydantic import Field

from models.record import Record


class Interval(Record):
    """Where a score may well lie: 95 % confidence."""

    low: float
    high: float


class ClassScores(Record):
    """Scores of one class against all others."""

    name: str
    precision: float
    """Share of the images called this that are; 0 where none was."""
    recall: float
    """Share of this class's images called so; 0 where there is none."""
    f1: float
    """Harmonic mean of precision and recall; 0 where both are 0."""
    support: int
    """Images of this class."""


class PointScores(Record):
    """Scores of class probabilities against true labels, without intervals."""

    accuracy: float
    """Share of images whose most probable class is right; of equal ones the first counts."""
    f1_macro: float
    """Unweighted mean of F1 over all classes; an absent class counts 0."""
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
    confusion: tuple[tuple[int, ...], ...]
    """Images of class [row] called class [column]."""

    @property
    def majority_share(self) -> float:
        """Accuracy of always naming the most frequent class."""
        return max(scores.support for scores in self.per_class) / self.n


class Evaluation(PointScores):
    """Scores with the intervals that say how sure they are."""

    intervals: dict[str, Interval]
    """accuracy, f1_macro, cross_entropy -> 95 % interval."""
