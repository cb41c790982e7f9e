"""Every page that pitchpipe writes, with every section that it can have, made of drawn numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from data_value_fixtures import value
from evaluation_fixtures import guesses, names

from flows.records.shadow_log import Guess, LogLimits, ShadowCounts, ShadowLog, disagreement_of
from flows.versions.shadow_report import report_shadow
from models.config import TrialConfig
from models.config.policies import GateParams
from models.evaluation.data_value.figures import draw_value
from models.evaluation.explanation.page import render_explanation
from models.evaluation.explanation.records import (
    Estimate,
    Explanation,
    Faithfulness,
    MethodFindings,
    SanityCheck,
    ShownImage,
)
from models.evaluation.records import Baseline, Calibration, Interval
from models.evaluation.report.data_value import render_value_page
from models.evaluation.report.page import WHY, link_why
from models.evaluation.report.pictures import Picture, picture_of
from models.evaluation.report.report_input import (
    LeaderboardRow,
    ReportedDataset,
    ReportInput,
    Selection,
    TestSplit,
)
from models.evaluation.report.why import WhyInput, mapped_rows, write_why
from models.evaluation.report.writing import write_report
from models.evaluation.scores import evaluate
from models.evaluation.slices.membership import Slice, Sliced
from models.evaluation.slices.scoring import score_slices
from models.gate.inputs import GateInput
from models.gate.verdict import decide
from models.monitoring.labels.forecast import forecast_gain
from models.monitoring.labels.page import PAGE, link_page, write_page
from models.monitoring.labels.records import ClassNoise, LabelFault, NoiseEstimate, Triage
from models.search.confirmation import Confirmed
from models.trials import EpochRecord, Scores

PAGES = (
    "report.html",
    WHY,
    "explanation.html",
    "data_value.html",
    PAGE,
    "shadow.html",
)
"""Files that `write_pages` writes."""
_SOME = Interval(low=0.1, high=0.3)
_NAME = "pets-classifier"


def write_pages(directory: Path, *, classes: int = 3, side: int = 8, channels: int = 1) -> None:
    """Write PAGES; the shadow's log lies below the working folder.

    classes: of the report and the why page.  side: of the images, in pixels.
    """
    directory.mkdir(exist_ok=True)
    images = drawn_images(max(120, 4 * classes), channels, side)
    report = write_report(directory, whole_report(images, classes=classes)).page
    write_why(directory / WHY, _why(images, classes=classes))
    link_why(report)
    _write(directory / "explanation.html", _explanation(images))
    _write(directory / "data_value.html", render_value_page(value(), draw_value(value())))
    faults = _triage()
    write_page(directory / PAGE, faults, {one.id: images[0] for one in faults.faults})
    link_page(report)
    _write(directory / "shadow.html", _shadow(images))


def drawn_images(count: int, channels: int, side: int) -> npt.NDArray[np.uint8]:
    """Noise, which PNG compresses worst: (count, channels, side, side)."""
    shape = (count, channels, side, side)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def whole_report(images: npt.NDArray[np.uint8], *, classes: int) -> ReportInput:
    """A report with every section, on as many test images as are given."""
    probabilities, labels = guesses(len(images), classes, strength=2.0, seed=0)
    evaluation = evaluate(probabilities, labels, classes=names(classes), bins=15)
    return ReportInput(
        title=f"{_NAME}, version 3",
        evaluation=evaluation,
        selection=_selection(),
        test=TestSplit(images, labels, probabilities),
        dataset=ReportedDataset("pets", "ab" * 32, {"train": 70, "validation": 20, "test": 10}),
        config=TrialConfig(),
        value=value(),
        links={"MLflow run": "http://127.0.0.1:5000/#/runs/1"},
        calibration=Calibration(
            temperature=1.25, images=90, uncalibrated_ece=0.123, uncalibrated_cross_entropy=0.5
        ),
        flips="horizontal",
        parent="version 2",
        refit=True,
        slices=_sliced(probabilities.argmax(axis=1) == labels),
    )


def _selection() -> Selection:
    rates, widths = ("0.0003", "0.001", "0.003", "0.01"), ("32", "64", "128")
    board = [
        _row(0.9 - at / 100, {"optimizer.learning_rate": rate, "network.hidden_units": width})
        for at, (rate, width) in enumerate((rate, width) for rate in rates for width in widths)
    ]
    scores = Scores(accuracy=0.88, f1_macro=0.87, cross_entropy=0.3)
    history = [
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
        for epoch in range(1, 6)
    ]
    baselines = [Baseline(name="logistic regression", scores=scores)]
    confirmed = Confirmed(
        key="k",
        differences=dict(board[0].differences),
        mean=scores,
        deviation=scores,
        seeds=3,
        failed=0,
    )
    return Selection(board, history, 5, "accuracy", baselines, confirmation=[confirmed])


def _row(accuracy: float, differences: dict[str, str]) -> LeaderboardRow:
    scores = Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)
    return LeaderboardRow(differences, scores, 3, 12.34, "trained", cached=False)


def _sliced(right: npt.NDArray[np.bool_]) -> Sliced:
    wrong = np.flatnonzero(~right)
    found = (
        Slice("cluster", "1 (class 1 taken for class 0)", wrong[: max(len(wrong) // 2, 1)]),
        Slice("batch", "2026-11-01", np.arange(0, len(right), 2)),
        Slice("brightness", "0.10 to 0.25", np.arange(0, len(right), 3)),
    )
    return Sliced(score_slices(right, found), found)


def _why(images: npt.NDArray[np.uint8], *, classes: int) -> WhyInput:
    ours, labels = guesses(len(images), classes, strength=2.5, seed=1)
    theirs, _ = guesses(len(images), classes, strength=2.0, seed=2)
    challenger, champion = (
        GateInput(
            probabilities=one,
            labels=labels,
            test_digest="ab",
            classes=tuple(names(classes)),
            trained_on_test=0,
            weights_megabytes=1.0,
        )
        for one in (ours, (theirs + np.eye(classes, dtype=np.float32)[labels]) / 2)
    )
    decision = decide(challenger, champion, GateParams(minimum_test_images=10))
    slices = [Slice("batch", "2026-11-01", np.arange(0, len(images), 2))]
    why = WhyInput("Version 3", challenger, champion, images, decision=decision, slices=slices)
    maps: dict[int, tuple[Picture, ...]] = {
        int(row): (picture_of(images[row]),) * 2 for row in mapped_rows(why)
    }
    return replace(why, maps=maps)


def _explanation(images: npt.NDArray[np.uint8]) -> str:
    some = Estimate(mean=0.2, interval=_SOME)
    found = MethodFindings(
        method="integrated_gradients",
        faithfulness=Faithfulness(
            deletion=some,
            insertion=some,
            random_deletion=some,
            random_insertion=some,
            deletion_lead=some,
            insertion_lead=some,
        ),
        sanity=SanityCheck(signed=some, absolute=some),
    )
    shown = tuple(
        ShownImage(id=f"{at:02}", true="cat", predicted=("cat", "dog")[at % 2], confidence=0.9)
        for at in range(6)
    )
    explanation = Explanation(
        name=_NAME,
        version=3,
        network="cnn",
        dataset_digest="ab",
        seed=0,
        images=6,
        shown=shown,
        methods=(found,),
        left_out="Grad-CAM needs a convolution",
    )
    maps = [np.random.default_rng(1).normal(size=images.shape[2:]).astype(np.float32)] * 6
    return render_explanation(explanation, images[:6], {"integrated_gradients": maps})


def _triage() -> Triage:
    noise = NoiseEstimate(
        evidence="cross-validated",
        images=100,
        errors=20,
        likely=10,
        rate=0.1,
        interval=_SOME,
        classes=(ClassNoise(name="cat", images=50, rate=0.1, interval=_SOME, likely=10),),
    )
    faults = tuple(
        LabelFault(
            rank=at + 1,
            id=f"{at:064x}",
            split=("train", "test")[at % 2],
            given="cat",
            proposed="dog",
            given_probability=0.02,
            proposed_probability=0.9,
            margin=-0.88,
            likely=at < 10,
        )
        for at in range(12)
    )
    held_out = noise.model_copy(update={"evidence": "held-out"})
    return Triage(
        id="t",
        dataset="pets",
        dataset_digest="d",
        of="version 3",
        folds=2,
        epochs=1,
        noise=(noise, held_out),
        faults=faults,
        forecast=forecast_gain([noise, held_out]),
        notes=("batch 1 was left out",),
        list_file="mlruns/triage/pets/faults.csv",
    )


def _shadow(images: npt.NDArray[np.uint8]) -> str:
    log = ShadowLog(
        ShadowCounts(name=_NAME, champion=2, challenger=3, since="2026-11-28"),
        LogLimits(),
    )
    for at, image in enumerate(images[:12]):
        log.count("cat", "dog")
        log.count("dog", "dog")
        pair = (Guess(label="cat", probability=0.9), Guess(label="dog", probability=0.8))
        log.add(disagreement_of(image, f"{at:064x}", pair=pair))
    log.save()
    return Path(report_shadow(_NAME, GateParams()).page).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
