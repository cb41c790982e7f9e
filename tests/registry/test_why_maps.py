"""Maps of the why page: of both versions, for what each answers, or the reason why not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from evaluation_fixtures import naming
from registry_records import CLASSES, random_images, serving_network

from flows.registry.promotion import attributions
from flows.registry.promotion.attributions import with_maps
from flows.tracking.store import Tracking
from models.config import TrialConfig
from models.evaluation.explanation.attribution import attribute
from models.evaluation.explanation.heatmap import heatmap
from models.evaluation.report.why import WhyInput, mapped_rows
from models.gate.inputs import GateInput

TRACKING = Tracking("nowhere", "m")
IMAGES = random_images(6)
NETWORKS = {3: serving_network(seed=3), 2: serving_network(seed=2)}
THEIR_ORDER = (CLASSES[2], CLASSES[0], CLASSES[1])
"""Of the champion's classes."""


def scored(predicted: list[int]) -> GateInput:
    return GateInput(
        probabilities=naming(predicted, classes=3),
        labels=np.array([0, 1, 2, 0, 1, 2]),
        test_digest="ab",
        classes=CLASSES,
        trained_on_test=0,
        weights_megabytes=1.0,
    )


@pytest.fixture
def why(monkeypatch: pytest.MonkeyPatch) -> WhyInput:
    """Rows 0 and 4 are fixed, row 2 is broken."""

    def loaded(_: Tracking, version: int) -> SimpleNamespace:
        lineage = SimpleNamespace(
            image_form=None,
            classes=CLASSES if version == 3 else THEIR_ORDER,
            spec=SimpleNamespace(config=TrialConfig()),
        )
        files = SimpleNamespace(lineage=lineage, called=f"version {version}")
        return SimpleNamespace(files=files, network=NETWORKS[version])

    monkeypatch.setattr(attributions, "load_version", loaded)
    split = SimpleNamespace(images=IMAGES)
    monkeypatch.setattr(attributions, "open_split_for", lambda *_: split)
    return WhyInput("t", scored([0, 1, 1, 0, 1, 2]), scored([1, 1, 2, 0, 0, 2]), IMAGES)


def test_each_version_is_asked_about_its_own_answer(why: WhyInput) -> None:
    """The champion by its own order of the classes."""
    found = with_maps(TRACKING, why, (3, 2))

    rows = mapped_rows(why)
    said = {3: [0, 1, 1], 2: [1, 0, 2]}  # of rows 0, 4 and 2, of CLASSES
    answers = {3: said[3], 2: [THEIR_ORDER.index(CLASSES[at]) for at in said[2]]}
    wanted = {
        version: [
            heatmap(image, values).uri
            for image, values in zip(
                IMAGES[rows],
                attribute(network, IMAGES[rows], answers[version], "integrated_gradients"),
                strict=True,
            )
        ]
        for version, network in NETWORKS.items()
    }
    assert rows.tolist() == [0, 4, 2]
    assert found.without_maps is None
    pairs = zip(wanted[3], wanted[2], strict=True)
    assert {row: tuple(one.uri for one in of) for row, of in found.maps.items()} == dict(
        zip([0, 4, 2], pairs, strict=True)
    )


def test_where_nothing_changed_nothing_is_loaded(why: WhyInput) -> None:
    same = replace(why, champion=why.challenger)
    assert with_maps(TRACKING, same, (99, 99)) is same


def test_without_captum_the_page_says_how_to_have_maps(
    why: WhyInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = with_maps(TRACKING, why, (3, 2))

    assert found.maps == {}
    assert "make install EXTRAS=explain" in (found.without_maps or "")
