"""Value of data and of capacity, as it is stored, shown and used; light to import."""

from datetime import datetime
from typing import Literal

from models.config import TrialConfig
from models.evaluation.data_value.power_law import Estimate, PowerLaw
from models.evaluation.records import Interval
from models.record import Record


class SizePoint(Record):
    """Trials on one number of train images."""

    fraction: float
    images: float
    """Train images; the mean where draws differ."""
    errors: tuple[float, ...]
    """Share of the validation images that each trial got wrong, by draw."""
    keys: tuple[str, ...]
    """Of the trials in the store."""


class HeldOut(Record):
    """The errors of the largest size, as the smaller ones predict them, and as they are."""

    images: float
    predicted: Estimate
    """Mean error of as many trials."""
    found: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds what was found."""
        interval = self.predicted.interval
        return interval.low <= self.found <= interval.high

    @property
    def sentence(self) -> str:
        """The same in words."""
        low, high = (
            100 * one for one in (self.predicted.interval.low, self.predicted.interval.high)
        )
        said = "which is within" if self.covered else "which is not: do not trust this curve"
        return (
            f"Checked by holding out the whole split: the smaller fractions predict an error of "
            f"{low:.1f} to {high:.1f} % on it, and {100 * self.found:.1f} % were found, {said}."
        )


class ClassValue(Record):
    """What more images are expected to bring for one class."""

    name: str
    images: int
    """Train images of it now."""
    validation_images: int
    more: int
    """Images of it more that the gain is for."""
    curve: PowerLaw
    """1 - recall by train images of the class."""
    gain: Estimate
    """Rise of its recall."""
    alone: bool
    """Whether its images alone grow; else those of all classes do, in proportion."""
    accuracy: Estimate | None = None
    """Rise of the accuracy over all classes, what others lose to it included; null unless alone."""

    @property
    def sentence(self) -> str:
        """`400 more `shirt` images: +1.2 points, 95 % 0.5 to 1.9`, and of what."""
        grows = "alone" if self.alone else "and as many in proportion of all others"
        text = f"{self.more:,} more `{self.name}` images, {grows}: recall {self.gain.points}"
        return text if self.accuracy is None else f"{text}; accuracy of all {self.accuracy.points}"


class SizedNetwork(Record):
    """Trials of the network at a multiple of its width."""

    factor: float
    parameters: int
    train_errors: tuple[float, ...]
    """Share of the train images, at most 5,000, that the kept weights of each trial get wrong."""
    validation_errors: tuple[float, ...]
    keys: tuple[str, ...]


Limit = Literal["network", "data", "neither shown"]


class CapacityCurve(Record):
    """Errors by the size of the network, on the whole train split."""

    networks: tuple[SizedNetwork, ...]
    """Narrowest first."""
    wider: Estimate | None
    """Fall of the validation error from the width as configured to the next; null: not trained."""
    gap: Estimate
    """Validation error minus train error at the width as configured."""
    limit: Limit
    text: str
    """The answer, with the numbers it rests on."""


class DataValue(Record):
    """What more images would bring, and whether the network or the data limits."""

    id: str
    """Digest of config, images, fractions, code and packages: the same question has one record."""
    at: datetime
    """When it was answered, UTC."""
    name: str
    """Registered name."""
    dataset: str
    dataset_digest: str
    """Of the prepared arrays; the test split was not read."""
    subject: str
    """Whose config it is: `version 3 (champion)`, or `trial: of the params`."""
    config: TrialConfig
    epochs: int
    train_images: int
    all_images: int
    """Of the three splits."""
    validation_images: int
    """On which the errors are: at most 10,000."""
    points: tuple[SizePoint, ...]
    """Smallest first; the last is the whole split."""
    curve: PowerLaw
    """Validation error by train images."""
    more: int
    """Train images more that the gains are for."""
    gain: Estimate
    """Rise of the accuracy on validation."""
    classes: tuple[ClassValue, ...]
    """Greatest expected gain first: those of which the images alone grow, then the others."""
    check: HeldOut | None
    """null: with three fractions there is nothing to hold out."""
    capacity: CapacityCurve | None = None
    """null: not asked for."""
    run_id: str | None = None
    """MLflow's run that shows it."""

    def expected(self, new_images: int) -> Estimate:
        """Return the gain that so many new images promise, of which train gets its share.

        Beyond as many again as there are, the gain is that of as many again: a curve through one
        octave and a half is extended by one octave, and no further.
        """
        share = self.train_images / self.all_images
        added = min(new_images * share, self.train_images)
        if added <= 0:
            return Estimate(value=0.0, interval=Interval(low=0.0, high=0.0))
        return self.curve.gain(self.train_images, self.train_images + added)

    @property
    def sentence(self) -> str:
        """What more data would bring, in words."""
        return (
            f"{self.more:,} more train images, of all classes in proportion, are expected to bring "
            f"{self.gain.points}, in accuracy on validation, trained for as many steps as now."
        )
