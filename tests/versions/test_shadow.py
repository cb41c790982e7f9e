"""A challenger beside the version in service: what it is asked, logged, reported and judged by."""

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from registry_records import BARS, Command

from flows.records.promotion import Judgement
from flows.records.shadow_log import (
    COUNTS,
    IMAGES,
    SHADOWS,
    Guess,
    LogLimits,
    ShadowCounts,
    ShadowLog,
    add_labels,
    disagreement_of,
    folder_of,
    read_disagreements,
)
from flows.registry.promotion.aliases import NothingToMoveError
from flows.registry.promotion.commands import approve_version, force_promotion, settle
from flows.registry.promotion.shadow import labelled_disagreements
from flows.tracking.store import Tracking
from flows.upkeep.retention import remove, shadow_images
from flows.versions.serving.records import ServedVersion
from flows.versions.serving.shadow import WAITING_IMAGES, Answered, Shadow, ShadowSource
from flows.versions.shadow_report import ID, report_shadow, surprising
from models.config import RetentionParams
from models.config.data import ImageForm
from models.config.policies import GateParams
from models.datasets.prepared import open_split
from models.errors import ConfigError, InputError
from models.gate.records import GateDecision, RuleResult
from models.gate.shadow import judge_disagreements

pytest_plugins = ["registry_fixtures", "registry_project"]

Images = NDArray[np.uint8]
FORM = ImageForm(image_size=2, channels=1)
COUNTS_OF_PAIR = ShadowCounts(name=BARS, champion=1, challenger=2, since="2026-11-28T08:00:00")
PASSED = GateDecision(
    verdict="PROMOTE", rules=(RuleResult(rule="better", passed=True, text="better"),)
)


def images_of(*pixels: int) -> Images:
    return np.stack([np.full((1, 2, 2), pixel, np.uint8) for pixel in pixels])


def version(number: int, *, least: int) -> ServedVersion:
    """Calls an image bright from such a pixel on, with a probability of 0.9."""

    def predict(images: Images) -> NDArray[np.float32]:
        bright = images[:, 0, 0, 0] >= least
        return np.where(bright[:, None], [[0.1, 0.9]], [[0.9, 0.1]]).astype(np.float32)

    return ServedVersion(BARS, number, "d", ("dark", "bright"), FORM, predict)


def asked(*pixels: int, of: ServedVersion) -> Answered:
    images = images_of(*pixels)
    return Answered(of, images, of.predict(images))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder_of(BARS, champion=1, challenger=2)


def shadowed(
    *answers: Answered, challenger: ServedVersion, limits: LogLimits | None = None
) -> Shadow:
    """A shadow that was offered answers, and has ended."""
    source = ShadowSource(lambda: challenger.version, lambda _number, _threads: challenger)
    shadow = Shadow(source, limits or LogLimits(), images_at_once=3)
    for one in answers:
        shadow.offer(one)
    shadow.start()
    shadow.end(seconds=20)
    return shadow


def test_both_are_counted_and_disagreements_kept_with_their_images(folder: Path) -> None:
    """Each image once; the folder is its owner's alone; counts go on after a restart."""
    champion, challenger = version(1, least=100), version(2, least=50)
    for _ in range(2):
        shadowed(asked(10, 60, 200, of=champion), asked(60, 70, of=champion), challenger=challenger)
    counts = ShadowCounts.model_validate_json((folder / COUNTS).read_bytes())
    assert counts.cells == (("bright", "bright", 2), ("dark", "bright", 6), ("dark", "dark", 2))
    found = read_disagreements(folder)
    assert [int(one.picture().max()) for one in found] == [60, 70]
    assert (found[0].champion.label, found[0].challenger.label) == ("dark", "bright")
    assert found[0].champion.probability == pytest.approx(0.9)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (SHADOWS, folder)} == {0o700}


def test_a_full_log_keeps_what_it_has_and_goes_on_counting(folder: Path) -> None:
    """Whoever floods the server drops nobody's images out of the log."""
    champion, challenger = version(1, least=100), version(2, least=50)
    shadowed(asked(60, 61, 62, of=champion), challenger=challenger, limits=LogLimits(images=2))
    shadowed(asked(63, of=champion), challenger=challenger, limits=LogLimits(bytes=100))
    counts = ShadowCounts.model_validate_json((folder / COUNTS).read_bytes())
    assert [int(one.picture().max()) for one in read_disagreements(folder)] == [60, 61]
    assert (counts.images, counts.unlogged) == (4, 2)


def test_what_a_killed_process_left_is_read(folder: Path) -> None:
    """Files are renamed into place: a part of one has another name."""
    champion, challenger = version(1, least=100), version(2, least=50)
    shadowed(asked(60, 61, of=champion), challenger=challenger)
    (folder / IMAGES / ".000003-aa.json.7.ab.tmp").write_text('{"image": "aa')
    (folder / IMAGES / "000004-bb.json").write_text('{"image": "bb')
    assert len(read_disagreements(folder)) == 2
    shadowed(asked(62, of=champion), challenger=challenger)
    assert len(read_disagreements(folder)) == 3


def test_answers_never_wait_and_what_is_too_much_is_skipped(folder: Path) -> None:
    """The queue is bounded in images, and says how many were left out."""
    champion = version(1, least=100)
    many = replace_images(asked(60, of=champion), WAITING_IMAGES)
    shadowed(many, asked(61, of=champion), challenger=version(2, least=50))
    counts = ShadowCounts.model_validate_json((folder / COUNTS).read_bytes())
    assert (counts.images, counts.skipped) == (WAITING_IMAGES, 1)


def replace_images(answered: Answered, count: int) -> Answered:
    images = np.repeat(answered.images, count, axis=0)
    return replace(answered, images=images, probabilities=answered.version.predict(images))


def broken(_: Images) -> NDArray[np.float32]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "challenger",
    [
        version(1, least=50),
        replace(version(2, least=50), form=ImageForm(image_size=4, channels=1)),
        replace(version(2, least=50), predict=broken),
    ],
)
def test_a_challenger_that_cannot_be_compared_leaves_the_answers_alone(
    folder: Path, challenger: ServedVersion
) -> None:
    """The champion itself, another image form, a network that fails: nothing is counted."""
    champion = version(1, least=100)
    shadowed(asked(60, of=champion), asked(61, of=champion), challenger=challenger)
    assert read_disagreements(folder) == ()
    assert not (folder / COUNTS).exists() or challenger.predict is broken


@pytest.fixture
def logged(folder: Path) -> Path:
    """Ten images: of six both versions say the same."""
    answers = asked(*range(10, 70, 10), 101, 102, 103, 104, of=version(1, least=100))
    shadowed(answers, challenger=version(2, least=35))
    return folder


def test_the_report_says_how_often_they_agree_and_shows_where_not(logged: Path) -> None:
    """7 of 10: Wilson's interval, worked by hand; classes by the champion; a sheet."""
    report = report_shadow(BARS, GateParams())
    assert (report.counts.agreed, report.counts.images, report.logged) == (7, 10, 3)
    assert report.interval.low == pytest.approx(0.3968, abs=1e-4)
    assert report.interval.high == pytest.approx(0.8922, abs=1e-4)
    assert [(one.name, one.agreed, one.images) for one in report.classes] == [
        ("dark", 3, 6),
        ("bright", 4, 4),
    ]
    page = Path(report.page).read_text()
    assert page.count("<figure>") == 3
    assert "champion: dark (90\xa0%)" in page
    assert Path(report.page).parent == logged


def test_labels_are_kept_and_tested_as_the_gate_tests(logged: Path, tmp_path: Path) -> None:
    """Two right for the challenger of three; a later word about an image counts."""
    names = [one.image[:ID] for one in read_disagreements(logged)]
    file = tmp_path / "labels.csv"
    file.write_text(f"image,label\n{names[0]},bright\n{names[1]},dark\n")
    report_shadow(BARS, GateParams(shadow=3), labels=file)
    file.write_text(f"image,label,by\n{names[1]},bright,me\n{names[2]},dark,me\n")
    found = report_shadow(BARS, GateParams(shadow=3), labels=file).test
    assert (found.labelled, found.challenger_only, found.champion_only) == (3, 2, 1)
    assert (found.look, found.p_value, found.shown) == (1, 1.0, "neither")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picture,label\na,b\n", "no columns image and label"),
        ("image,label\nffff,dark\n", "line 2: image 'ffff' is not in the log"),
        ("image,label\n{},\n", "line 2: has no label"),
        ("image,label\n\x00", "cannot be read|not in the log"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    logged: Path, tmp_path: Path, text: str, words: str
) -> None:
    """Nothing of the file is kept."""
    file = tmp_path / "labels.csv"
    file.write_text(text.replace("{}", read_disagreements(logged)[0].image))
    with pytest.raises(InputError, match=words):
        report_shadow(BARS, GateParams(), labels=file)
    assert labelled_disagreements(logged) == ()


@pytest.mark.usefixtures("folder")
def test_without_a_log_the_report_says_how_to_begin() -> None:
    with pytest.raises(ConfigError, match="serve --shadow challenger"):
        report_shadow(BARS, GateParams())


def test_old_images_are_removed_by_gc(logged: Path) -> None:
    """They are users'; younger ones stay, and the counts."""
    report_shadow(BARS, GateParams())
    keep, at_once = RetentionParams(), RetentionParams(shadow_days=1e-9)
    assert remove(list(shadow_images(keep)), dry_run=False).removed == ()
    assert len(remove(list(shadow_images(at_once)), dry_run=False).removed) == 4
    assert not (logged / "report.html").exists()
    assert read_disagreements(logged) == ()
    assert (logged / COUNTS).exists()


def test_the_surest_are_shown_first() -> None:
    """Both must be sure: the less certain of the two decides."""
    image = images_of(1)[0]
    pairs = ((0.99, 0.4), (0.7, 0.8), (0.6, 0.9))
    found = [
        disagreement_of(
            image, str(at), pair=(Guess(label="a", probability=p), Guess(label="b", probability=q))
        )
        for at, (p, q) in enumerate(pairs)
    ]
    assert [one.image for one in surprising(found)] == ["1", "2", "0"]


@pytest.mark.parametrize(("count", "shown"), [(7, True), (6, False)])
def test_seven_of_seven_are_worth_a_verdict_at_the_first_look(count: int, shown: bool) -> None:  # noqa: FBT001
    """2 / 2**7 = 0.0156 and 2 / 2**6 = 0.031, against 2 x 0.05 (1/2 + 1/365) / 2 = 0.0251."""
    better, worse = (
        judge_disagreements([(not alone, alone)] * count, GateParams(), every=count)
        for alone in (True, False)
    )
    assert better.threshold == pytest.approx(0.0251, abs=1e-4)
    assert better.shown == ("better" if shown else "neither")
    assert worse.shown == ("worse" if shown else "neither")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.integers(1, 20))
def test_labels_after_the_last_look_change_nothing(
    right: list[tuple[bool, bool]], every: int
) -> None:
    """So whoever asks after each label is not told "better" the sooner by luck."""
    gate, whole = GateParams(), len(right) // every * every
    now, then = (judge_disagreements(one, gate, every=every) for one in (right, right[:whole]))
    assert now.model_copy(update={"labelled": whole}) == then
    if whole == 0:
        assert now.shown == "neither"


def log_disagreements(count: int, *, labelled: int, true: str = "top") -> None:
    """A log of version 2 beside version 1, whose first images are labelled."""
    log = ShadowLog(COUNTS_OF_PAIR, LogLimits())
    pair = (Guess(label="middle", probability=0.9), Guess(label="top", probability=0.8))
    for at in range(count):
        log.count("middle", "top")
        log.add(disagreement_of(images_of(at)[0], f"{at:064x}", pair=pair))
    log.save()
    add_labels(log.folder, {f"{at:064x}": true for at in range(labelled)})


def test_a_challenger_awaits_its_shadow_stage(bars_tracking: Tracking) -> None:
    """Approval is refused before the labels are there; the gate asked again then promotes."""
    force_promotion(bars_tracking, 1, reason="the first")
    gate, judged = GateParams(shadow=8), Judgement(version=2, champion=1, decision=PASSED)
    log_disagreements(9, labelled=5)
    move = settle(bars_tracking, judged, gate)
    assert (move.action, move.after) == ("await", 1)
    assert move.reasons[0] == "awaits its shadow stage: 5 disagreements labelled of 8"
    with pytest.raises(NothingToMoveError, match="5 disagreements labelled of 8"):
        approve_version(bars_tracking, 2, gate=gate)
    log_disagreements(9, labelled=8)
    assert settle(bars_tracking, judged, gate).after == 2


def test_a_challenger_that_labels_show_to_be_worse_is_held(bars_tracking: Tracking) -> None:
    force_promotion(bars_tracking, 1, reason="the first")
    log_disagreements(9, labelled=8, true="middle")
    judged = Judgement(version=2, champion=1, decision=PASSED)
    move = settle(bars_tracking, judged, GateParams(shadow=8))
    assert (move.action, move.after) == ("hold", 1)
    assert "the champion alone on 8" in move.reasons[0]


def test_a_first_champion_needs_no_shadow(bars_tracking: Tracking) -> None:
    """It has nobody to be beside."""
    judged = Judgement(version=1, champion=None, decision=PASSED)
    assert settle(bars_tracking, judged, GateParams(shadow=8)).after == 1


def test_an_image_that_was_delivered_with_its_class_is_labelled(
    bars: Path, pitchpipe: Command
) -> None:
    """By its print, in whichever split it is; the command says so."""
    log = ShadowLog(COUNTS_OF_PAIR, LogLimits())
    split = open_split(bars / "data/prepared", "train", verify=False)
    from models.datasets.by_id import prints_of  # noqa: PLC0415

    print_ = prints_of(split.images[:1])[0].tobytes().hex()
    pair = (Guess(label="top", probability=0.9), Guess(label="middle", probability=0.8))
    log.count("top", "middle")
    log.add(disagreement_of(np.asarray(split.images[0]), print_, pair=pair))
    log.save()
    [(_, label)] = labelled_disagreements(log.folder)
    assert label == ("top", "middle", "bottom")[split.labels[0]]
    code, out, err = pitchpipe("shadow", "report")
    assert code == 0, err
    assert "version 2 gives the class of version 1 to 0 of 1 images" in out
    assert "1 disagreements are labelled: too few for a test." in out
