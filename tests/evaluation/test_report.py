"""The report: whole, self-contained, safe to open, and with an answer for odd inputs."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_fixtures import Labels, Probabilities, Sources, guesses, naming
from evaluation_fixtures import names as class_names
from page_samples import drawn_images, whole_report
from PIL import Image

from flows.cli.display.versions import print_scores
from models.config import TrialConfig
from models.config.start import StartConfig
from models.evaluation.generalisation_gap import generalisation_gap
from models.evaluation.outcomes import outcomes_of
from models.evaluation.records import Calibration, Evaluation
from models.evaluation.report.mistakes import confident_mistakes
from models.evaluation.report.report_input import (
    LeaderboardRow,
    ReportedDataset,
    ReportInput,
    Selection,
    TestSplit,
)
from models.evaluation.report.writing import write_report
from models.evaluation.scores import evaluate
from models.evaluation.slices.membership import Slice, Sliced
from models.evaluation.slices.records import SliceReport
from models.evaluation.slices.scoring import score_slices
from models.trials import EpochRecord, Scores

FIGURES = {
    "training_curves.png",
    "confusion_matrix.png",
    "per_class.png",
    "mistakes.png",
    "calibration.png",
}


def epochs(count: int) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=epoch,
            train_loss=1 / epoch,
            train_accuracy=1 - 0.5 / epoch,
            validation_loss=1.1 / epoch,
            validation_accuracy=1 - 0.6 / epoch,
            validation_f1_macro=1 - 0.6 / epoch,
            learning_rate=0.001,
            seconds=1.0,
        )
        for epoch in range(1, count + 1)
    ]


def row(accuracy: float | None, **differences: str) -> LeaderboardRow:
    scores = accuracy and Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)
    state = "failed" if accuracy is None else "trained"
    return LeaderboardRow(differences, scores or None, 3, 12.34, state, cached=False)


def report_on(
    probabilities: Probabilities,
    labels: Labels,
    *,
    channels: int = 1,
    names: list[str] | None = None,
) -> ReportInput:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (len(labels), channels, 12, 12)).astype(np.uint8)
    classes = names or class_names(probabilities.shape[1])
    return ReportInput(
        title="digits-classifier, version 3",
        evaluation=evaluate(probabilities, labels, classes=classes, bins=15),
        selection=Selection([row(0.9, minibatch_size="16"), row(None)], epochs(4), 3, "accuracy"),
        test=TestSplit(images, labels, probabilities),
        dataset=ReportedDataset("digits", "ab" * 32, {"train": 70, "validation": 20, "test": 10}),
        config=TrialConfig(),
        links={"MLflow run": "http://127.0.0.1:5000/#/runs/1"},
    )


def test_a_report_says_what_calibration_changed(tmp_path: Path) -> None:
    """The error without it and with it; nothing where nothing was calibrated."""
    plain = report_on(*guesses(50, 3, strength=3.0, seed=0))
    calibration = Calibration(
        temperature=1.25, images=90, uncalibrated_ece=0.123, uncalibrated_cross_entropy=0.5
    )
    calibrated = replace(plain, calibration=calibration)
    pages = [
        write_report(tmp_path / name, report).page.read_text()
        for name, report in (("plain", plain), ("calibrated", calibrated))
    ]

    assert [page.count("divided by 1.250, fitted on 90") for page in pages] == [0, 1]
    assert "was 0.123 without it" in pages[1]


def test_a_report_says_that_mirror_images_were_asked_as_well(tmp_path: Path) -> None:
    """Where they were."""
    plain = report_on(*guesses(50, 3, strength=3.0, seed=0))

    page = write_report(tmp_path, replace(plain, flips="horizontal")).page.read_text()

    assert "means over each test image and its mirror image" in page


def test_a_report_says_whether_the_kept_weights_overfit(tmp_path: Path) -> None:
    """By their gap between train and validation, with its numbers."""
    plain = report_on(*guesses(50, 3, strength=3.0, seed=0))
    train, validation = (outcomes_of(*guesses(90, 3, strength=1.0, seed=seed)) for seed in (1, 2))
    measured = replace(plain, gap=generalisation_gap(train, validation))

    page = write_report(tmp_path, measured).page.read_text()

    assert "on 90 train and 90 validation images: accuracy" in page


def test_report_is_one_page_with_its_figures_and_scores(tmp_path: Path) -> None:
    """Page, JSON and five figures; nothing else, and no temporary file is left."""
    report = report_on(*guesses(200, 4, strength=3.0, seed=0))
    files = write_report(tmp_path, report)
    found = {path.name for path in tmp_path.iterdir()}
    assert found == FIGURES | {"report.html", "evaluation.json"}
    assert {path.name for path in files.figures} == FIGURES
    assert Evaluation.model_validate_json(files.evaluation.read_text()) == report.evaluation
    for path in files.figures:
        with Image.open(path) as picture:
            assert picture.width > 400


def test_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """Every figure is inside the page; no script, style sheet or font comes from elsewhere."""
    files = write_report(tmp_path, report_on(*guesses(50, 3, strength=2.0, seed=1)))
    page = files.page.read_text()
    found = Sources(page)
    assert len(found.fetched) >= 5
    assert re.search(r'<img class="sharp" alt="class \d"', page)
    assert all(source.startswith("data:image/png;base64,") for source in found.fetched)
    assert not found.tags & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"url\(|@import", page)


def test_page_and_terminal_name_the_classes_that_macro_f1_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the score, wherever one is read; not a word where every class has images."""
    probabilities, labels = guesses(40, 3, strength=3.0, seed=0)
    without, whole = (report_on(probabilities, np.minimum(labels, last)) for last in (1, 2))

    print_scores(without.evaluation)
    print_scores(whole.evaluation)

    said = "no images of class 2"
    text = Sources(write_report(tmp_path / "one", without).page.read_text()).text
    assert f"; {said}" in text
    assert said not in Sources(write_report(tmp_path / "two", whole).page.read_text()).text
    assert capsys.readouterr().out.count(f"left out of f1_macro: {said}") == 1


def test_page_says_how_good_it_is_and_which_trial_was_selected(tmp_path: Path) -> None:
    report = report_on(*guesses(200, 4, strength=3.0, seed=0))
    text = Sources(write_report(tmp_path, report).page.read_text()).text
    accuracy = report.evaluation.intervals["accuracy"]
    assert f"{100 * report.evaluation.accuracy:.2f} %" in text
    assert f"{100 * accuracy.low:.2f} % to {100 * accuracy.high:.2f} %" in text
    assert "ab" * 32 in text
    assert "The only trial with scores" in text
    assert "optimizer.learning_rate" in text


def test_names_and_links_from_outside_are_only_text(tmp_path: Path) -> None:
    """A class named like a script or a formula is shown as it is; no link runs code."""
    probabilities, labels = guesses(40, 2, strength=0.5, seed=2)
    names = ["<script>alert(1)</script>", r"$\frac{$ & \"犬\""]
    report = replace(
        report_on(probabilities, labels, names=names),
        title="<b>bold</b>",
        links={"bad": "javascript:alert(1)", "worse": "data:text/html,x", "good": "../model"},
    )
    found = Sources(write_report(tmp_path, report).page.read_text())
    assert "script" not in found.tags
    assert "<script>alert(1)</script>" in found.text
    assert "<b>bold</b>" in found.text
    assert [one for one in found.followed if not one.startswith("#")] == ["../model"]


@pytest.mark.parametrize("channels", [1, 3])
def test_one_image_one_epoch_no_mistake(tmp_path: Path, channels: int) -> None:
    """The smallest report there can be says plainly what it cannot know."""
    report = report_on(naming([1], classes=2), np.array([1]), channels=channels)
    report = replace(report, selection=replace(report.selection, history=epochs(1), best_epoch=1))
    text = Sources(write_report(tmp_path, report).page.read_text()).text
    assert "None: all test images are right" in text
    assert "Unknown from 1 epoch" in text


def test_all_wrong_and_no_history(tmp_path: Path) -> None:
    """A classifier that is never right, of which no epoch is known, still has a report."""
    report = report_on(naming([1, 1, 1], classes=2), np.array([0, 0, 0]), channels=3)
    report = replace(report, selection=Selection([row(None)], [], 1, "f1_macro"))
    text = Sources(write_report(tmp_path, report).page.read_text()).text
    assert "3 of 3 test images are wrong" in text
    assert "No trial has scores" in text


def test_report_of_ten_thousand_images_of_many_classes_is_quick(tmp_path: Path) -> None:
    """120 classes, 300 trials, 24 mistakes of 224 pixels of noise: cut, said so, below 5 MB.

    1.3 s on a quiet core; the limit leaves room for coverage and for busy machines.
    """
    report = report_on(*guesses(10_000, 120, strength=5.0, seed=3))
    board = [row(0.9 - index / 1000, minibatch_size=str(index)) for index in range(300)]
    noise = np.random.default_rng(0).integers(0, 256, (3, 224, 224), np.uint8)
    test = replace(report.test, images=np.broadcast_to(noise, (10_000, 3, 224, 224)))
    selection = replace(report.selection, leaderboard=board)
    report = replace(report, selection=selection, test=test)
    began = time.process_time()
    files = write_report(tmp_path, report)
    assert time.process_time() - began < 20
    assert files.page.stat().st_size < 5_000_000
    text = Sources(files.page.read_text()).text
    assert "and 280 more" in text
    assert "and 100 better ones" in text


@pytest.mark.slow
@pytest.mark.parametrize("classes", [100, 1000])
def test_a_report_with_every_section_is_small_and_quick(tmp_path: Path, classes: int) -> None:
    """10,000 test images of 224 pixels of noise, which compresses worst: 1.6 MB, 2.3 s."""
    images = np.broadcast_to(drawn_images(1, 3, 224), (10_000, 3, 224, 224))
    report = whole_report(images, classes=classes)
    began = time.process_time()
    page = write_report(tmp_path, report).page
    assert time.process_time() - began < 20
    assert page.stat().st_size < 5_000_000
    assert len(report.evaluation.per_class) == classes


def test_mistakes_come_most_confident_first() -> None:
    """Right images never show, however sure; ties keep the order of the images."""
    probabilities = naming([0, 1, 1, 1, 1], classes=2, confidence=[0.99, 0.7, 0.9, 0.7, 0.95])
    outcomes = outcomes_of(probabilities, np.array([0, 0, 0, 0, 1]))
    assert confident_mistakes(outcomes, 10).tolist() == [2, 1, 3]
    assert confident_mistakes(outcomes, 2).tolist() == [2, 1]


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing in a report depends on when or how often it is written."""
    report = report_on(*guesses(60, 3, strength=1.0, seed=4))
    for folder in ("first", "second"):
        write_report(tmp_path / folder, report)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("first", "second")
    )
    assert len(first) == len(FIGURES) + 2
    assert first == second


def test_the_parent_is_named_where_training_began_with_its_weights(tmp_path: Path) -> None:
    """Name, layers, normalisation; nothing where it began with new weights."""
    start = StartConfig(origin="champion", weights="a" * 64, mean=(0.5,), std=(0.5,))
    report = report_on(*guesses(30, 3, strength=1.0, seed=5))
    child = replace(report, config=TrialConfig(start=start), parent="version 3 of <cats>")
    pages = [
        write_report(tmp_path / name, one).page.read_text()
        for name, one in (("new", report), ("child", child))
    ]

    assert "Training began" not in pages[0]
    expected = "weights of version 3 of &lt;cats&gt;: all layers; images are normalised by its mean"
    assert expected in pages[1]


def test_writing_again_replaces_the_report(tmp_path: Path) -> None:
    write_report(tmp_path, report_on(*guesses(30, 3, strength=1.0, seed=5)))
    files = write_report(tmp_path, report_on(*guesses(40, 3, strength=1.0, seed=6)))
    assert json.loads(files.evaluation.read_text())["n"] == 40
    assert len(list(tmp_path.iterdir())) == len(FIGURES) + 2


def test_arrays_of_other_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    report = report_on(*guesses(30, 3, strength=1.0, seed=5))
    other = replace(report.test, images=report.test.images[:20])
    with pytest.raises(ValueError, match=r"the images .* that were evaluated"):
        write_report(tmp_path, replace(report, test=other))
    assert list(tmp_path.iterdir()) == []


def test_a_report_shows_slices_where_they_were_scored(tmp_path: Path) -> None:
    """Worse ones first and marked, pictures of clusters, what is beyond; else not a word."""
    predicted = np.where(np.arange(200) < 15, 1, 0)
    plain = report_on(naming(predicted, classes=2), np.zeros(200, np.int64))
    found = (
        Slice("cluster", "1 (<a> taken for b)", np.arange(40)),
        *(Slice("batch", f"b{at}", np.arange(at, 200, 4)) for at in range(4)),
        *(Slice("group", f"g{at:02}", np.arange(at, 200, 5)) for at in range(25)),
    )
    scored = Sliced(score_slices(predicted == 0, found), found)
    without, shown = (
        write_report(tmp_path / name, one).page.read_text()
        for name, one in (("plain", plain), ("sliced", replace(plain, slices=scored)))
    )

    assert "lices" not in Sources(without).text
    assert not (tmp_path / "plain/slices.json").exists()
    written = (tmp_path / "sliced/slices.json").read_text()
    assert SliceReport.model_validate_json(written) == scored.report
    text = Sources(shown).text
    assert shown.count("<b>worse</b>") == 1
    assert shown.index("<small>cluster</small>") < shown.index("<small>batch</small>")
    assert "cluster 1 (<a> taken for b): mistakes in it" in text
    assert shown.count('class="sharp"') == 15 + 8
    assert "and 10 more: see slices.json" in text
