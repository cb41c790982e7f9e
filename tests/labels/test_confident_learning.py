"""Confident learning: what is counted, flagged, ranked and estimated, by hand and in general."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from evaluation_fixtures import Labels, Probabilities, Sources, guesses, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from training_fixtures import write_prepared

from models.datasets.prepared import open_split
from models.datasets.sources.label_lists import read_label_list
from models.errors import InputError
from models.monitoring.labels.confident_learning import Suspicion, suspect_labels
from models.monitoring.labels.folds import POOL, assign_folds, open_pool, write_fold
from models.monitoring.labels.forecast import estimate_noise, forecast_gain
from models.monitoring.labels.lists import format_list
from models.monitoring.labels.page import link_page, write_page
from models.monitoring.labels.records import LabelFault, Triage, TriagePlan


def suspected(probabilities: Probabilities, labels: Labels) -> Suspicion:
    table = probabilities.astype(np.float64)
    return suspect_labels(table / table.sum(axis=1, keepdims=True), labels)


def test_by_hand() -> None:
    """Thresholds 0.6 and 0.7: image 3 reaches that of class 1, image 6 that of none.

    Of class 0: 0.9, 0.8, 0.4, 0.3; of class 1: 0.9, 0.8, 0.4.
    """
    first = np.array([0.9, 0.8, 0.4, 0.3, 0.1, 0.2, 0.6 - 0.05])
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    table = np.stack([first, 1 - first], axis=1)
    found = suspect_labels(table, labels)
    # Means: (0.9 + 0.8 + 0.4 + 0.3) / 4 = 0.6; (0.9 + 0.8 + 0.45) / 3 = 0.7167.
    assert found.joint.tolist() == [[2, 0], [0, 2]]
    assert not found.likely.any()
    table[3] = (0.2, 0.8)  # Means: 0.575, 0.7167; 0.8 reaches the latter.
    found = suspect_labels(table, labels)
    assert found.joint.tolist() == [[2, 1], [0, 2]]
    assert np.flatnonzero(found.likely).tolist() == [3]
    assert found.contradicted.tolist() == [False, False, True, True, False, False, True]
    assert found.margins[3] == pytest.approx(-0.6)
    assert found.ranking.tolist()[:3] == [3, 2, 6]
    assert (found.proposed[3], found.own[3], found.others[3]) == (1, 0.2, 0.8)

    noise = estimate_noise(found, ("a", "b"), "held-out")
    # Rows of the joint: 1 of 3 and 0 of 2; weighted by images: (4 / 3 + 0) / 7.
    assert [one.rate for one in noise.classes] == pytest.approx([1 / 3, 0])
    assert noise.rate == pytest.approx(4 / 21)
    assert (noise.errors, noise.likely) == (3, 1)
    assert noise.accuracy == pytest.approx(4 / 7)
    assert noise.corrected == pytest.approx(5 / 7)
    said = forecast_gain([noise])
    assert said[0].startswith("Test: about 19.0 % of 7 labels are wrong [")
    assert "1 are likely faults, among 3 test errors (33 % [6, 79])" in said[0]
    assert "at most 0.7143 instead of 0.5714; that is another yardstick" in said[0]


def test_it_says_what_its_authors_library_says() -> None:
    """Values of cleanlab 2.9.0 (confident_learning, normalized_margin) for the same table."""
    probabilities, labels = guesses(60, 3, strength=2.0, seed=5)
    labels[:6] = (labels[:6] + 1) % 3
    found = suspected(probabilities, labels)
    assert found.joint.tolist() == [[14, 0, 3], [1, 9, 1], [1, 2, 12]]
    assert found.ranking[: found.likely.sum()].tolist() == [4, 5, 0, 3, 1, 2, 38, 55]


@settings(max_examples=60)
@given(table=scored(), seed=st.integers(0, 2**32 - 1))
def test_order_of_images_and_of_classes_decide_nothing(
    table: tuple[Probabilities, Labels], seed: int
) -> None:
    """A likely fault is one wherever it stands, is contradicted, and leads the ranking."""
    probabilities, labels = table
    generator = np.random.default_rng(seed)
    found, classes = suspected(probabilities, labels), probabilities.shape[1]
    rows, names = generator.permutation(len(labels)), generator.permutation(classes)
    renamed = np.argsort(names)[labels][rows]
    other = suspected(probabilities[rows][:, names], renamed)
    assert other.likely.tolist() == found.likely[rows].tolist()
    assert other.margins.tolist() == pytest.approx(found.margins[rows].tolist())
    assert other.joint.tolist() == found.joint[np.ix_(names, names)].tolist()
    assert not (found.likely & ~found.contradicted).any()
    assert found.joint.sum() <= len(labels)
    assert sorted(found.ranking.tolist()) == list(range(len(labels)))
    assert found.likely[found.ranking[: found.likely.sum()]].all()
    noise = estimate_noise(found, [str(one) for one in range(classes)], "cross-validated")
    estimates = [(noise.rate, noise.interval), *((one.rate, one.interval) for one in noise.classes)]
    for rate, interval in estimates:
        assert 0 <= interval.low <= rate <= interval.high <= 1


def test_a_network_that_agrees_suspects_nothing() -> None:
    """However unsure; a class without images is nobody's."""
    labels = np.array([0, 1, 0, 1])
    table = np.full((4, 3), 0.3)
    table[np.arange(4), labels] = 0.4
    found = suspect_labels(table, labels)
    assert not found.contradicted.any()
    assert estimate_noise(found, "abc", "held-out").rate == 0


def test_most_flipped_labels_of_digits_are_first_and_accuracy_comes_back() -> None:
    """5 % flipped: 80 % of them among the first 8 %, and a classifier that believes its labels."""
    digits = load_digits()
    images, test, true, truth = train_test_split(
        digits.data / 16, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    generator = np.random.default_rng(0)
    flipped = generator.choice(len(true), len(true) // 20, replace=False)
    labels = true.copy()
    labels[flipped] = (true[flipped] + generator.integers(1, 10, len(flipped))) % 10
    out_of_sample = cross_val_predict(
        LogisticRegression(max_iter=300, C=0.1), images, labels, cv=3, method="predict_proba"
    )
    found = suspect_labels(out_of_sample, labels)
    first = found.ranking[: round(0.08 * len(labels))]
    assert np.isin(flipped, first).mean() >= 0.8
    noise = estimate_noise(found, [str(one) for one in range(10)], "cross-validated")
    assert noise.interval.low <= len(flipped) / len(labels) <= noise.interval.high

    corrected = np.where(found.likely, found.proposed, labels)
    scores = [
        KNeighborsClassifier(1).fit(images, given).score(test, truth)
        for given in (labels, corrected, true)
    ]
    given_score, corrected_score, true_score = scores
    assert corrected_score - given_score >= 0.6 * (true_score - given_score) > 0


@settings(max_examples=40)
@given(
    groups=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=6, max_size=30),
    alone=st.booleans(),
)
def test_folds_keep_groups_together(groups: list[tuple[int, int]], *, alone: bool) -> None:
    """Each image is held out once, with all of its group; the same images give the same folds."""
    sizes = [1 if alone else size for _, size in groups]
    labels = np.repeat([label for label, _ in groups], sizes)
    keys = [bytes([number]) for number, size in enumerate(sizes) for _ in range(size)]
    if np.bincount(labels).max() < 2:
        return
    folds = assign_folds(labels, keys, folds=2, seed=1)
    assert set(folds.tolist()) <= {0, 1}
    assert len({(key, fold) for key, fold in zip(keys, folds.tolist(), strict=True)}) == len(sizes)
    assert np.array_equal(folds, assign_folds(labels, keys, folds=2, seed=1))
    if alone:  # every class is spread evenly
        for label in set(labels.tolist()):
            in_each = np.bincount(folds[labels == label], minlength=2)
            assert abs(in_each[0] - in_each[1]) <= 1


def test_more_folds_than_images_are_refused() -> None:
    """With the number that there are."""
    with pytest.raises(InputError, match="--folds 5: the largest class has 2 images, in 3 groups"):
        assign_folds(np.array([0, 0, 1]), [b"a", b"b", b"c"], folds=5, seed=0)


def test_a_fold_holds_what_its_network_must_not_see(tmp_path: Path) -> None:
    """Train and validation without it, prepared as trials take them, in the splits they are in."""
    manifest = write_prepared(tmp_path / "prepared")
    pool = open_pool(tmp_path / "prepared", {}, folds=3, seed=0)
    seen = []
    for fold in range(3):
        made = write_fold(tmp_path / f"fold-{fold}", pool, manifest, fold)
        assert made.digest != manifest.digest
        assert write_fold(tmp_path / f"fold-{fold}", pool, manifest, fold) == made
        for name in POOL:
            split = open_split(tmp_path / f"fold-{fold}", name, verify=True)
            held = pool.held(fold)[name]
            whole = pool.splits[name]
            there = {one.tobytes() for one in split.ids}
            assert there == {one.tobytes() for one in np.delete(whole.ids, held, axis=0)}
            assert made.splits[name].images + len(held) == len(whole.ids)
            seen += [whole.ids[row].tobytes() for row in held]
    assert sorted(seen) == sorted(one.tobytes() for one in pool.ids)


def fault(
    rank: int, *, given: str = "=a", proposed: str = "<b>", likely: bool = True
) -> LabelFault:
    return LabelFault(
        rank=rank,
        id=f"{rank:064x}",
        split="test" if rank == 2 else "train",
        given=given,
        proposed=proposed,
        given_probability=0.02,
        proposed_probability=0.9,
        margin=-0.88,
        likely=likely,
    )


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("filled", ["given", "proposed"])
def test_the_list_is_one_that_relabelling_reads(
    tmp_path: Path, filled: str, *, lines: bool
) -> None:
    """With the label that was asked for, and no formula in it."""
    path = tmp_path / ("faults.jsonl" if lines else "faults.csv")
    asked = "given" if filled == "given" else "proposed"
    path.write_text(format_list([fault(1), fault(2)], lines=lines, filled=asked))  # type: ignore[arg-type]
    read = read_label_list(path, classes=("=a", "<b>"))
    assert [line.label for line in read] == [{"given": "=a", "proposed": "<b>"}[filled]] * 2
    if not lines:
        cells = next(iter(list(csv.reader(io.StringIO(path.read_text())))[1:]))
        assert not any(cell.startswith("=") for cell in cells)


def test_the_page_shows_what_is_given_and_runs_nothing(tmp_path: Path) -> None:
    """Names are escaped, test images are marked, and a report leads to it, once."""
    faults = (fault(1, proposed="<script>x</script>"), fault(2), fault(3, likely=False))
    noise = estimate_noise(suspect_labels(np.eye(2), np.array([0, 1])), ("=a", "<b>"), "held-out")
    triage = Triage(
        id="t",
        dataset="pets",
        dataset_digest="d",
        of="version 1",
        folds=2,
        epochs=1,
        noise=(noise,),
        faults=faults,
        forecast=forecast_gain([noise]),
    )
    images = {one.id: np.zeros((1, 8, 8), np.uint8) for one in faults[:2]}
    write_page(tmp_path / "triage.html", triage, images)
    found = Sources((tmp_path / "triage.html").read_text())
    assert "script" not in found.tags
    assert "1. labelled =a (2\xa0%)" in found.text
    assert "rather <script>x</script> (90\xa0%)" in found.text
    assert "The first 2 of 3 are shown" in found.text
    assert all(source.startswith("data:image/png") for source in found.fetched)
    assert triage.likely == 2

    report = tmp_path / "report.html"
    report.write_text("<main>\n</main>")
    link_page(report)
    link_page(report)
    assert Sources(report.read_text()).followed == ["triage.html"]


def test_a_plan_says_what_it_costs() -> None:
    """Before anything is trained; nothing, where all was trained before."""
    plan = TriagePlan(
        of="version 1", folds=5, epochs=10, images=1417, workers=2, seconds=32.6, cached=False
    )
    assert plan.sentence == (
        "version 1: its config is trained on 5 folds of 1,417 images, at most 10 epochs each and 2 "
        "at once, about 33 s"
    )
    cached = plan.model_copy(update={"cached": True})
    assert "nothing is trained now" in cached.sentence
