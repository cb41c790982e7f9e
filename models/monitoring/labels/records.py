"""Records of a label triage; light to import."""

from typing import Literal

from pydantic import Field

from models.config.data import SplitName
from models.evaluation.records import Interval
from models.record import Record

Evidence = Literal["cross-validated", "held-out"]
"""cross-validated: by networks of the same config that did not see the image. held-out: by the
version itself, which was not trained on test."""


class LabelFault(Record):
    """An image whose label the network contradicts."""

    rank: int = Field(ge=1)
    """1 is the most suspicious."""
    id: str
    """SHA-256 of the decoded image."""
    split: SplitName
    given: str
    """Name of its class as labelled."""
    proposed: str
    """Name of the class that the network would have it be."""
    given_probability: float
    proposed_probability: float
    margin: float
    """Probability of the given class less the largest of another one."""
    likely: bool
    """Whether it is likely wrong: another class is as probable as for images labelled so; else the
    network only doubts it."""


class ClassNoise(Record):
    """Estimate of wrong labels among the images labelled as one class."""

    name: str
    images: int
    rate: float
    """Estimated share of wrong labels: off the diagonal of the confident joint."""
    interval: Interval
    """95 %, Wilson's."""
    likely: int
    """Images listed as likely faults."""


class NoiseEstimate(Record):
    """Estimate of wrong labels among images whose probabilities have one origin."""

    evidence: Evidence
    images: int
    errors: int
    """Images whose most probable class is not the label."""
    likely: int
    """Likely faults; each is one of the errors."""
    rate: float
    """Estimated share of wrong labels."""
    interval: Interval
    classes: tuple[ClassNoise, ...]

    @property
    def accuracy(self) -> float:
        """Share right by the labels as given."""
        return 1 - self.errors / self.images

    @property
    def corrected(self) -> float:
        """The same if every likely fault is one, and its label becomes what was predicted."""
        return 1 - (self.errors - self.likely) / self.images


class TriagePlan(Record):
    """What a triage will train, before it begins."""

    of: str
    folds: int
    epochs: int
    """Of each fold, at most."""
    images: int
    """Of train and validation."""
    workers: int
    """Folds at once."""
    seconds: float | None
    """About how long, by the time that the trial took; null: not known."""
    cached: bool
    """Whether the probabilities are there already, and nothing is trained."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        if self.cached:
            return f"{self.of}: all {self.folds} folds were trained before; nothing is trained now"
        about = "" if self.seconds is None else f", about {self.seconds:.0f} s"
        return (
            f"{self.of}: its config is trained on {self.folds} folds of {self.images:,} images, at "
            f"most {self.epochs} epochs each and {self.workers} at once{about}"
        )


class Triage(Record):
    """A label triage: likely faults, most suspicious first, and what correcting them may bring."""

    id: str
    """Digest of config, images, folds, code and packages."""
    dataset: str
    dataset_digest: str
    """Of the prepared arrays."""
    of: str
    """Whose config was trained on the folds."""
    folds: int
    epochs: int
    """Budget of each fold."""
    noise: tuple[NoiseEstimate, ...]
    """Of train and validation; of test where it could be asked."""
    faults: tuple[LabelFault, ...]
    """Of the splits asked for: likely faults first, then doubts."""
    forecast: tuple[str, ...]
    """What correcting them may bring, and what cannot be known, in sentences."""
    notes: tuple[str, ...] = ()
    """What was done otherwise than asked."""

    @property
    def likely(self) -> int:
        """Likely faults among those listed."""
        return sum(fault.likely for fault in self.faults)

    page: str | None = None
    """Path of triage.html."""
    list_file: str | None = None
    """Path of the list to edit."""
