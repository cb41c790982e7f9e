"""Where challenger and champion looked, on the images that one of them fixed or broke."""

import logging
from dataclasses import replace

import numpy as np

from flows.registry.loading import load_version
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from models.errors import ConfigError, PitchpipeError
from models.evaluation.outcomes import Integers
from models.evaluation.report.pictures import Picture
from models.evaluation.report.why import WhyInput, mapped_rows
from models.gate.inputs import GateInput

log = logging.getLogger(__name__)


def with_maps(tracking: Tracking, why: WhyInput, versions: tuple[int, int]) -> WhyInput:
    """Give each fixed and broken image that is shown an attribution map of both versions.

    versions: challenger and champion. By integrated gradients, which every network has maps by; at
    most 48 images. Where captum is missing, or a version's network cannot be built again, the page
    says so instead: a retraining does not fail for its pictures.
    """
    rows = mapped_rows(why)
    if len(rows) == 0:
        return why
    try:
        pairs = zip(versions, (why.challenger, why.champion), strict=True)
        both = [_pictures(tracking, version, scored, rows) for version, scored in pairs]
    except PitchpipeError as error:
        log.info("no attribution maps on the why page: %s", error)
        return replace(why, without_maps=str(error))
    places = map(int, rows)
    return replace(why, maps=dict(zip(places, zip(*both, strict=True), strict=True)))


def _pictures(tracking: Tracking, version: int, scored: GateInput, rows: Integers) -> list[Picture]:
    """Maps of what a version answers, on the images as it takes them."""
    # torch and matplotlib: imported where maps are made, not by every promotion.
    import torch  # noqa: PLC0415

    from models.evaluation.explanation.attribution import (  # noqa: PLC0415
        attribute,
        require_captum,
    )
    from models.evaluation.explanation.heatmap import heatmap  # noqa: PLC0415
    from models.networks.serving import ServingNetwork  # noqa: PLC0415

    require_captum()
    loaded = load_version(tracking, version)
    lineage, network = loaded.files.lineage, loaded.network
    if not isinstance(network, ServingNetwork):
        raise ConfigError(f"{loaded.files.called}: its network cannot be built again here")
    torch.set_num_threads(lineage.spec.config.threads)
    images = np.asarray(open_split_for(lineage.image_form, "test").images[rows])
    named = [scored.classes[at] for at in scored.probabilities[rows].argmax(axis=1)]
    answers = [lineage.classes.index(name) for name in named]
    maps = attribute(network, images, answers, "integrated_gradients")
    return [heatmap(image, values) for image, values in zip(images, maps, strict=True)]
