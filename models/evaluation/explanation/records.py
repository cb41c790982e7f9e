"""What is known of attribution maps: their scores, and in words whether they explain anything."""

from typing import Literal, get_args

from models.evaluation.records import Interval
from models.record import Record

Method = Literal["occlusion", "integrated_gradients", "grad_cam"]
METHODS: tuple[Method, ...] = get_args(Method)
SHOWN_AS: dict[Method, str] = {
    "occlusion": "Occlusion",
    "integrated_gradients": "Integrated gradients",
    "grad_cam": "Grad-CAM",
}
SAME = 0.5
"""Rank correlation from which a map counts as the same after the weights were randomised."""


class Estimate(Record):
    """Mean over images."""

    mean: float
    interval: Interval
    """95 %, by bootstrap over the images."""

    @property
    def words(self) -> str:
        """Such as `0.412 (0.380 to 0.447)`."""
        return f"{self.mean:.3f} ({self.interval.low:.3f} to {self.interval.high:.3f})"


class Faithfulness(Record):
    """Deletion and insertion (Petsiuk et al., 2018): areas below a probability, 0 to 1."""

    deletion: Estimate
    """The pixels that the map ranks highest are taken away first; lower is better."""
    insertion: Estimate
    """They are given back first to a blurred image; higher is better."""
    random_deletion: Estimate
    """Of pixels in random order, on the same images."""
    random_insertion: Estimate
    deletion_lead: Estimate
    """Random minus the map's, image by image; above 0 is better than chance."""
    insertion_lead: Estimate
    """The map's minus random."""

    @property
    def beaten(self) -> tuple[str, ...]:
        """Scores by which the map is better than a random one, beyond the interval."""
        leads = (("deletion", self.deletion_lead), ("insertion", self.insertion_lead))
        return tuple(name for name, lead in leads if lead.interval.low > 0)


class SanityCheck(Record):
    """Rank correlation of each map with that of randomised weights (Adebayo et al., 2018)."""

    signed: Estimate
    """Spearman's, of the maps as they are; 1: the weights do not matter, 0: nothing is left."""
    absolute: Estimate
    """Of their absolute values."""

    @property
    def verdict(self) -> Literal["passed", "failed", "undecided"]:
        """Of the map as it is shown, with its sign: beyond `SAME`, below it, or on both sides."""
        interval = self.signed.interval
        if interval.low >= SAME:
            return "failed"
        return "passed" if interval.high < SAME else "undecided"

    @property
    def words(self) -> str:
        """The correlation, with what is doubtful about it."""
        said = self.signed.words
        if self.verdict == "undecided":
            said += ", which is too uncertain to tell whether they stay the same"
        if self.absolute.interval.low >= SAME:
            said += (
                f"; their strengths without the sign have {self.absolute.words}, and show the "
                "image more than what was learnt: read the sign"
            )
        return said


class MethodFindings(Record):
    """A method's maps of some images, judged."""

    method: Method
    faithfulness: Faithfulness
    sanity: SanityCheck

    @property
    def explains(self) -> bool:
        """Whether its maps depend on what was learnt and mark what the answer rests on."""
        return self.sanity.verdict != "failed" and bool(self.faithfulness.beaten)

    @property
    def sentence(self) -> str:
        """The verdict in words, which calls a map that explains nothing so."""
        name, beaten = SHOWN_AS[self.method], self.faithfulness.beaten
        if self.sanity.verdict == "failed":
            return (
                f"{name} explains nothing: with randomised weights its maps stay the same (rank "
                f"correlation {self.sanity.signed.words}), so they show the image, not what the "
                "network learnt"
            )
        if not beaten:
            return (
                f"{name} explains nothing that these images show: the answer depends on the pixels "
                "it marks no more than on pixels chosen at random"
            )
        by = "deletion and insertion" if len(beaten) == 2 else f"{beaten[0]} alone"
        return (
            f"{name} marks what the answers rest on, better than chance by {by}; with randomised "
            f"weights its maps have a rank correlation of {self.sanity.words}"
        )


class ShownImage(Record):
    """An image whose maps are on the page."""

    id: str
    """SHA-256 of its content, by which splits are made."""
    true: str
    predicted: str
    confidence: float
    """Probability of the predicted class."""


class Explanation(Record):
    """Attribution maps of a version's answers to today's test images."""

    name: str
    """Registered name."""
    version: int
    network: str
    """Kind, such as cnn."""
    dataset_digest: str
    """Of the prepared arrays."""
    seed: int
    images: int
    """Of the test split, drawn at random, on which the methods are judged."""
    shown: tuple[ShownImage, ...]
    """The most surprising hits and misses of each class."""
    methods: tuple[MethodFindings, ...]
    left_out: str | None = None
    """Why a method is not there."""
