"""Labels of a shadow's disagreements, and what they show of a challenger."""

from pathlib import Path

from flows.datasets.files import PREPARED
from flows.records.shadow_log import (
    Disagreement,
    folder_of,
    read_disagreements,
    read_labels,
)
from models.config.policies import GateParams
from models.datasets.by_id import prints_of
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import open_split, read_manifest
from models.errors import PitchpipeError
from models.gate.shadow import EVERY, ShadowTest, judge_disagreements


def labelled_disagreements(folder: Path) -> tuple[tuple[Disagreement, str], ...]:
    """Return the labelled images of a log with their classes, oldest first.

    Labels are those that people gave the log, else those of prepared images that a network cannot
    tell from these: whoever delivers a logged image with its class has labelled it.
    """
    found = read_disagreements(folder)
    labels = dict(read_labels(folder))
    open_ones = {one.image: one.shape for one in found if one.image not in labels}
    labels |= _in_dataset(open_ones)
    return tuple((one, labels[one.image]) for one in found if one.image in labels)


def shadow_test(name: str, *, champion: int, challenger: int, gate: GateParams) -> ShadowTest:
    """Test what is labelled of a pair's disagreements."""
    labelled = labelled_disagreements(folder_of(name, champion=champion, challenger=challenger))
    right = [(one.champion.label == true, one.challenger.label == true) for one, true in labelled]
    return judge_disagreements(right, gate, every=gate.shadow or EVERY)


def _in_dataset(wanted: dict[str, tuple[int, int, int]]) -> dict[str, str]:
    """Find images by their prints (print -> shape) in data/prepared; return their classes."""
    labels: dict[str, str] = {}
    try:
        manifest = read_manifest(PREPARED) if wanted else None
    except (PitchpipeError, OSError):  # nothing is prepared
        return {}
    if manifest is None or manifest.form.shape not in wanted.values():
        return {}
    for name in SPLITS:
        split = open_split(PREPARED, name, verify=False)
        prints = [row.tobytes().hex() for row in prints_of(split.images)]
        classes = [manifest.classes[label] for label in split.labels]
        labels |= {one: true for one, true in zip(prints, classes, strict=True) if one in wanted}
    return labels
