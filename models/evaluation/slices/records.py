"""Scores of slices; light to import, so that reading them needs neither scipy nor scikit-learn."""

from typing import Literal

from pydantic import Field

from models.evaluation.records import Interval
from models.record import Record

SliceKind = Literal["class", "brightness", "contrast", "size", "batch", "group", "cluster"]
SLICES = "slices.json"
"""Name of the file that holds a SliceReport, beside a report and in a version."""
SIGNIFICANCE = 0.05
"""Probability, at most, that any slice is called worse while none is (Holm, 1979)."""
FEWEST = 20
"""Images in a slice, and outside it, below which it is not tested."""


class SliceScore(Record):
    """Accuracy on one slice of the test images, against all others."""

    kind: SliceKind
    name: str
    """A class, batch or group; a range, such as `> 51.2, <= 80`; or a cluster, with the
    mistake that is most frequent in it on validation."""
    low: float | None = None
    """Lower edge of a range: excluded, but for the lowest range. brightness: mean grey level,
    contrast: standard deviation of the grey levels, both 0..255; size: root of the original image's
    height times width, pixels. Null: no range."""
    high: float | None = None
    """Upper edge, included."""
    images: int = Field(ge=1)
    right: int = Field(ge=0)
    """Of these, right."""
    accuracy: float
    interval: Interval
    """Its 95 % interval: Wilson's."""
    difference: float
    """Accuracy on the slice minus accuracy on all other test images."""
    difference_interval: Interval
    """Its 95 % interval: Newcombe's method 10 (1998). Not corrected for the number of slices."""
    p_value: float
    """Of "it is no worse than the others": Fisher's exact test, one-sided; not corrected."""
    distinct: bool
    """Whether Holm's procedure over all slices tested refuses that at 5 %: it is worse."""

    @property
    def label(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} {self.name}"

    @property
    def sentence(self) -> str:
        """Its accuracy and its distance from the rest, with intervals, in words."""
        low, high = self.difference_interval.low, self.difference_interval.high
        return (
            f"{self.label}: accuracy {self.accuracy:.3f} ({self.interval.low:.3f} to "
            f"{self.interval.high:.3f}) on {self.images:,} test images, "
            f"{100 * self.difference:+.1f} points against the rest ({100 * low:+.1f} to "
            f"{100 * high:+.1f})"
        )


class SliceReport(Record):
    """Accuracy on slices of one split, each against the rest of it."""

    images: int = Field(ge=1)
    """Test images."""
    accuracy: float
    """On all of them."""
    slices: tuple[SliceScore, ...]
    """All that were tested: first those that are worse than the rest, then by difference, lowest
    first."""
    small: int = Field(0, ge=0)
    """Slices that were not tested: fewer than 20 images in them, or outside."""
    beyond: int = Field(0, ge=0)
    """Slices that were not tested, for 100 larger ones of their kind were."""
    cluster_images: int = Field(0, ge=0)
    """Validation images among which clusters of mistakes were sought; 0: there were none."""
    origins: bool = True
    """Whether batch, original size and group of each image are known; false where an earlier
    release prepared the data."""

    @property
    def distinct(self) -> tuple[SliceScore, ...]:
        """Slices that are worse than the rest, lowest accuracy first; of equal ones the largest."""
        found = (one for one in self.slices if one.distinct)
        return tuple(sorted(found, key=lambda one: (one.accuracy, -one.images, one.label)))

    @property
    def worst(self) -> SliceScore | None:
        """Slice with the lowest accuracy of those that are worse than the rest."""
        return self.distinct[0] if self.distinct else None

    @property
    def sentence(self) -> str:
        """How many slices are worse than the rest, and by which tests, in words."""
        if not self.slices:
            return (
                f"No slice has {FEWEST} test images or more, and as many outside: none is tested."
            )
        worse, tested = len(self.distinct), len(self.slices)
        found = "none is" if not worse else "1 is" if worse == 1 else f"{worse} are"
        said = (
            f"Of {tested} slices {found} worse than the rest (Fisher's exact tests with Holm's "
            f"correction, {100 * SIGNIFICANCE:.0f} %)"
        )
        if self.worst is not None:
            return f"{said}. The lowest accuracy of these: {self.worst.sentence}."
        return f"{said}, which is no proof that they are alike: small slices show large gaps alone."

    @property
    def left_out(self) -> str:
        """What was not tested, and why, in words; empty where there is nothing."""
        parts = [
            f"{self.small} slices of fewer than {FEWEST} images" if self.small else "",
            f"{self.beyond} smaller ones of their kind" if self.beyond else "",
            "" if self.origins else "batch, size and group: `pitchpipe prepare` finds them",
        ]
        said = "; ".join(part for part in parts if part)
        return said and f"Not tested: {said}."
