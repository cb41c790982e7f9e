"""What more images would bring for single classes.

Two questions. As all classes grow in proportion: the recall of each class by its number of train
images, from the trials of the overall curve, at no further cost. As one class alone grows: trials
on fractions of that class beside all images of the others. The latter is what adding images of one
class does, and what it costs the others is counted: a larger class is also predicted more often,
so that its recall rises at the expense of theirs.
"""

from collections.abc import Sequence
from dataclasses import replace

from models.datasets.prepared import Manifest
from models.evaluation.data_value.fitting import Trials, fit_power_law, of_class
from models.evaluation.data_value.power_law import PowerLaw
from models.evaluation.data_value.records import ClassValue
from models.evaluation.outcomes import Integers


def values_in_proportion(
    sizes: Sequence[Trials], labels: Integers, manifest: Manifest, *, more: int
) -> list[ClassValue]:
    """Estimate the gain in recall of every class as all grow, greatest first.

    sizes: of the overall curve, smallest first;  labels: (m,) of the validation images;  more:
    train images of all classes together. Classes without train or validation images are left out.
    """
    train = manifest.splits["train"]
    found = []
    for label, (name, images) in enumerate(zip(manifest.classes, train.class_counts, strict=True)):
        validated = int((labels == label).sum())
        if not images or not validated:
            continue
        share = images / train.images
        scaled = [replace(one, images=one.images * share) for one in of_class(sizes, labels, label)]
        law = fit_power_law(scaled, falls=False)
        added = max(round(more * share), 1)
        found.append(_value(name, law, more=added, validated=validated, alone=False))
    return sorted(found, key=lambda one: (-one.gain.value, one.name))


def value_alone(
    name: str, sizes: Sequence[Trials], labels: Integers, label: int, *, more: int | None
) -> ClassValue:
    """Estimate what images of one class alone bring: to its recall, and to the accuracy of all.

    sizes: by train images of the class, smallest first;  more: None: as many again as there are.
    """
    images = round(sizes[-1].images)
    added = more or images
    law = fit_power_law(of_class(sizes, labels, label), falls=False)
    everywhere = fit_power_law(sizes, falls=False)
    validated = int((labels == label).sum())
    value = _value(name, law, more=added, validated=validated, alone=True)
    return value.model_copy(update={"accuracy": everywhere.gain(images, images + added)})


def _value(name: str, law: PowerLaw, *, more: int, validated: int, alone: bool) -> ClassValue:
    images = round(law.sizes[-1])
    return ClassValue(
        name=name,
        images=images,
        validation_images=validated,
        more=more,
        curve=law,
        gain=law.gain(images, images + more),
        alone=alone,
    )
