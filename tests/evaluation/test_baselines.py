"""Baselines on pixels: right scores, equal bits, and their place beside the trials."""

from html import unescape

import numpy as np
import pytest
from numpy.typing import NDArray
from project_folder import QUICK, ProjectFolder, overrides

from flows.retraining.baselines import article_spec
from models.config import TrialConfig
from models.datasets.prepared import Split
from models.evaluation.baselines import MOST_IMAGES, SIDE, pixels, score_baselines
from models.trials import TrialSpec

CLASSES = ("dark", "light", "never seen")


def split(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
    """A split of images in ascending order of made-up ids."""
    return Split(images=images, labels=labels, ids=np.zeros((len(labels), 32), np.uint8))


def dark_and_light(count: int, seed: int, *, side: int = 20) -> Split:
    """Images of two classes that brightness tells apart, two of three of them dark."""
    source = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 == 2).astype(np.int64)
    noise = source.integers(0, 60, (count, 3, side, side))
    return split((noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels)


def test_scores_are_those_of_the_images() -> None:
    """Brightness decides all but the majority's; a class without images takes part."""
    scored = score_baselines(dark_and_light(90, 0), dark_and_light(30, 1), classes=CLASSES)

    accuracy = {baseline.name: baseline.scores.accuracy for baseline in scored}

    assert accuracy.pop("most frequent class") == pytest.approx(2 / 3)
    assert set(accuracy.values()) == {1.0}
    assert len(accuracy) == 3
    assert scored[-1].name == "most frequent class"


def test_the_selected_trial_leads_by_the_images_that_it_alone_has_right() -> None:
    """All right, against a baseline that names the majority: a third of the images."""
    validation = dark_and_light(30, 1)
    scored = score_baselines(
        dark_and_light(90, 0), validation, classes=CLASSES, selected=validation.labels
    )

    lead = scored[-1].lead

    assert lead is not None
    assert (lead.images, lead.ahead, lead.behind) == (30, 10, 0)
    assert lead.accuracy == pytest.approx(1 / 3)
    assert lead.p_value == pytest.approx(2 / 2**10)
    assert [one.lead and one.lead.accuracy for one in scored[:-1]] == [0, 0, 0]


def test_equal_splits_give_equal_bits() -> None:
    """The forest's seed is fixed, and nothing depends on the number of cores."""
    splits = dark_and_light(90, 0), dark_and_light(30, 1)

    assert score_baselines(*splits, classes=CLASSES) == score_baselines(*splits, classes=CLASSES)


def test_one_class_and_one_image_are_no_fault() -> None:
    """Logistic regression is left out where it has nothing to tell apart."""
    one = split(np.full((1, 1, 8, 8), 9, np.uint8), np.zeros(1, np.int64))

    scored = score_baselines(one, one, classes=CLASSES)

    assert [baseline.scores.accuracy for baseline in scored] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("side", [8, 16, 28, 33, 64])
def test_pixels_are_means_of_rectangles_that_tile_the_image(side: int) -> None:
    """A mean weighted by area is the image's; small images stay as they are."""
    images = np.random.default_rng(side).integers(0, 256, (4, 3, side, side)).astype(np.uint8)
    least = min(side, SIDE)
    edges = np.arange(least + 1) * side // least
    rows = pixels(split(images, np.zeros(4, np.int64))).reshape(4, 3, least, least)

    area = np.diff(edges)[:, None] * np.diff(edges)[None, :]

    assert np.allclose((rows * area).sum((2, 3)) / side**2, images.mean((2, 3)) / 255, atol=1e-6)
    first = images[0, 0, : edges[1], : edges[1]].mean() / 255
    assert rows[0, 0, 0, 0] == pytest.approx(first, abs=1e-6)


def test_a_large_split_is_cut() -> None:
    """Its first images by id are a random sample."""
    images = np.zeros((MOST_IMAGES + 7, 1, 8, 8), np.uint8)

    assert pixels(split(images, np.zeros(len(images), np.int64))).shape == (MOST_IMAGES, 64)


def test_the_articles_network_is_fixed_but_for_seed_and_objective() -> None:
    """Whatever the selected trial was: 93,322 parameters, Adam at 0.001, minibatches of 32."""
    chosen = TrialConfig.model_validate_json(
        '{"network": {"name": "mlp"}, "optimizer": {"name": "sgd"}, "minibatch_size": 64,'
        ' "seed": 7, "objective": "f1_macro", "augmentation": {"name": "shift"}, "devices": 2}'
    )
    selected = TrialSpec(config=chosen, dataset="d", source="s", versions={"torch": "2"})

    spec = article_spec(selected, chosen)

    assert spec.model_copy(update={"config": chosen}) == selected
    assert (spec.config.seed, spec.config.objective) == (7, "f1_macro")
    network = spec.config.network.build(channels=1, image_size=28, classes=10)
    assert sum(weights.numel() for weights in network.parameters()) == 93_322
    assert spec.config.model_copy(update={"seed": 0, "objective": "accuracy"}) == TrialConfig()


@pytest.mark.usefixtures("with_databases")
def test_they_are_shown_beside_the_leaderboard(project: ProjectFolder, prefect_api: str) -> None:
    """In the terminal and in the report, which also has an answer about overfitting."""
    asked = overrides(*QUICK, "search.baselines=true", "search.axes={}", "search.epochs=3")

    ran = project.pitchpipe("run", *asked, PREFECT_API_URL=prefect_api)

    assert ran.code == 0, ran.err
    names = ["5 nearest neighbours", "logistic regression", "random forest", "most frequent class"]
    names.append("the article's CNN")
    assert all(name in ran.out for name in names)
    assert "the selected trial is" in ran.out
    (page,) = project.root.glob("mlruns/trials/*/evaluations/*/report.html")
    assert all(name in unescape(page.read_text()) for name in names)
    assert "Lead of the selected trial" in page.read_text()
    assert "scored again without augmentation and dropout" in page.read_text()
