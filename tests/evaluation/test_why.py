"""The why page: the gate's own counts, the most surprising images first, names only as text."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_fixtures import Sources, guesses, naming
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config.policies import GateParams
from models.evaluation.outcomes import outcomes_of
from models.evaluation.report.pictures import Picture, picture_of
from models.evaluation.report.why import (
    WhyInput,
    changed_classes,
    changed_slices,
    changes_of,
    mapped_rows,
    render_why,
)
from models.evaluation.slices.membership import Slice
from models.gate.inputs import GateInput
from models.gate.verdict import decide

GATE = GateParams(minimum_test_images=10)


def version(
    probabilities: np.ndarray, labels: np.ndarray, unknown: tuple[str, ...] = ()
) -> GateInput:
    return GateInput(
        probabilities=probabilities,
        labels=labels,
        test_digest="ab",
        classes=tuple(f"class {at}" for at in range(probabilities.shape[1])),
        trained_on_test=0,
        weights_megabytes=1.0,
        unknown=unknown,
    )


def grey(count: int, side: int = 8) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 1, side, side)).astype(np.uint8)


def test_groups_are_sorted_by_surprise() -> None:
    """Worked by hand: eight images of class 0; what each says with which confidence."""
    ours = naming(
        [0, 0, 1, 1, 1, 1, 0, 0], classes=2, confidence=[0.9, 0.6, 0.9, 0.6, 0.9, 0.6, 0.6, 0.9]
    )
    theirs = naming(
        [1, 1, 0, 0, 1, 1, 0, 0], classes=2, confidence=[0.6, 0.9, 0.9, 0.6, 0.9, 0.9, 0.9, 0.6]
    )
    labels = np.zeros(8, np.int64)

    found = changes_of(
        outcomes_of(ours, labels), outcomes_of(theirs, labels), compared=np.ones(8, bool)
    )

    # Of the true class: 0.9 against 0.4 and 0.6 against 0.1, of which the second is further.
    assert found.fixed.tolist() == [1, 0]
    assert found.broken.tolist() == [2, 3]
    assert found.both_wrong.tolist() == [4, 5]
    assert found.both_right.tolist() == [6, 7]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(), ("class 2",)]))
def test_counts_are_the_gates(seed: int, unknown: tuple[str, ...]) -> None:
    """Whatever the two say, and where the champion lacks a class."""
    ours, labels = guesses(60, 3, strength=3.0, seed=seed)
    theirs, _ = guesses(60, 3, strength=3.0, seed=seed + 1)
    theirs[:, 2] *= 0.0 if unknown else 1.0
    theirs /= theirs.sum(axis=1, keepdims=True)
    challenger, champion = version(ours, labels), version(theirs, labels, unknown=unknown)

    comparison = decide(challenger, champion, GATE).comparison
    known = labels < (2 if unknown else 3)
    outcomes = outcomes_of(ours, labels), outcomes_of(theirs, labels)
    changes = changes_of(*outcomes, compared=known)
    classes = changed_classes(changes, labels, challenger.classes)

    if comparison is not None:
        counts = (comparison.challenger_only, comparison.champion_only, comparison.both_right)
        found = (changes.fixed, changes.broken, changes.both_right)
        assert tuple(map(len, found)) == counts
        assert changes.images == comparison.images
    assert sum(one.images for one in classes) == changes.images == int(known.sum())
    assert all(one.net == one.fixed - one.broken for one in classes)


def test_the_page_says_what_it_may_not_be_used_for_and_runs_nothing() -> None:
    """Counts, verdict, the warning about the test split; class names are text."""
    ours, labels = guesses(60, 3, strength=4.0, seed=1)
    theirs, _ = guesses(60, 3, strength=4.0, seed=2)
    names = ("<script>alert(1)</script>", "b", "c")
    challenger, champion = (replace(version(one, labels), classes=names) for one in (ours, theirs))
    decision = decide(challenger, champion, GATE)
    why = WhyInput("<b>v2</b>", challenger, champion, grey(60), decision=decision)

    judged, unasked = (Sources(render_why(one)) for one in (why, replace(why, decision=None)))

    assert not judged.tags & {"script", "link", "iframe", "object", "embed"}
    assert "<script>alert(1)</script>" in judged.text
    assert all(source.startswith("data:image/png;base64,") for source in judged.fetched)
    assert f"{decision.verdict}: {decision.reason}" in judged.text
    assert "after the look that the gate counted" in judged.text
    assert "Do not choose settings by what they show" in unasked.text
    assert "no look at the test split was counted" in unasked.text
    assert "after the look" not in unasked.text


def test_maps_of_both_stand_beside_what_was_fixed_and_broken() -> None:
    """Each once for each of the two, in their order; without maps the page says why."""
    ours, labels = guesses(30, 3, strength=3.0, seed=1)
    theirs, _ = guesses(30, 3, strength=3.0, seed=2)
    why = WhyInput("t", version(ours, labels), version(theirs, labels), grey(30))
    rows = mapped_rows(why)
    maps = {
        int(row): tuple(Picture(f"data:image/png;base64,{row}/{of}", sharp=True) for of in (1, 2))
        for row in rows
    }

    page = Sources(render_why(replace(why, maps=maps)))
    plain = Sources(render_why(replace(why, without_maps="captum is <i>missing</i>")))

    right = [one.argmax(axis=1) == labels for one in (ours, theirs)]
    assert sorted(rows) == np.flatnonzero(right[0] != right[1]).tolist()
    wanted = [one.uri for row in rows for one in maps[int(row)]]
    assert [one for one in page.fetched if one in set(wanted)] == wanted
    assert "where each of the two looked" in page.text
    assert "Without attribution maps: captum is <i>missing</i>." in plain.text


def test_slices_are_counted_like_classes() -> None:
    """Worked by hand: the first three images fixed, the next broken, then both wrong, both right.

    An image that is not compared counts nowhere; a page without slices has no such section.
    """
    ours = naming([0, 0, 0, 1, 1, 0, 0], classes=2)
    theirs = naming([1, 1, 1, 0, 1, 0, 1], classes=2)
    labels = np.zeros(7, np.int64)
    changes = changes_of(
        outcomes_of(ours, labels), outcomes_of(theirs, labels), compared=np.arange(7) < 6
    )
    cut = [Slice("batch", "<new>", np.array([0, 1, 3, 6])), Slice("batch", "old", np.arange(2, 6))]

    found = changed_slices(changes, cut)
    counts = [(one.name, one.images, one.fixed, one.broken, one.net) for one in found]
    why = WhyInput("t", version(ours, labels), version(theirs, labels), grey(7))
    pages = [render_why(replace(why, slices=one)) for one in (cut, [])]

    assert counts == [("batch <new>", 3, 2, 1, 1), ("batch old", 4, 1, 1, 0)]
    assert (found[1].both_wrong, found[1].both_right) == (1, 1)
    assert ["By slice" in Sources(page).text for page in pages] == [True, False]
    assert "batch <new>" in Sources(pages[0]).text


def test_other_images_or_labels_are_refused() -> None:
    ours, labels = guesses(20, 3, strength=2.0, seed=1)
    one, other = version(ours, labels), version(ours, (labels + 1) % 3)
    with pytest.raises(ValueError, match="different labels"):
        render_why(WhyInput("t", one, other, grey(20)))
    with pytest.raises(ValueError, match="19 images and 20 labels"):
        render_why(WhyInput("t", one, one, grey(19)))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_keep_their_pixels_or_are_reduced(channels: int) -> None:
    """Small ones as squares; of large ones, at worst noise, a page holds 168 in 5 MB."""
    noise = np.random.default_rng(0).integers(0, 256, (channels, 400, 400)).astype(np.uint8)
    assert picture_of(np.zeros((channels, 28, 28), np.uint8)).sharp
    assert not picture_of(noise).sharp
    assert len(picture_of(noise).uri) < 5_000_000 / 168
