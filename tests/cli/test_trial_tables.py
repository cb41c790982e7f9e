"""Tables and curves of trials: 80 columns hold them, and no number is cut."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_records import trial_result
from rich.console import Console
from training_fixtures import UNSEEN

from flows.cli.display.retraining import print_retraining
from flows.cli.display.tables import Column, fitted_table
from flows.cli.display.trial_comparison import print_comparison
from flows.cli.display.trials import (
    Leaderboard,
    TrainingInputs,
    TrialRow,
    leaderboard,
    print_leaderboard,
    print_trial,
)
from flows.datasets.files import PREPARED, SAMPLE_SHEETS
from flows.records.retraining import Retraining
from flows.records.trial_store import STORE, StoredTrial
from models.config import CnnConfig, DataParams, TrialConfig
from models.config.trial import Objective
from models.datasets.prepared import MANIFEST, Manifest
from models.decision import Decision
from models.evaluation.records import FromBest
from models.files import write_text
from models.training.source import package_versions, training_source_digest
from models.trials import EpochRecord, Scores, TrialFiles, TrialResult, TrialSpec

COLUMNS = (
    Column("key", ["24cece0f", "e0eece74"]),
    Column("learning_rate", ["0.001427", "0.0003262"], axis=True),
    Column("momentum", ["0.9", ""], axis=True),
    Column("accuracy", ["0.9802", "0.9703"]),
    Column("macro\nF1", ["0.9797", "0.9712"], spare=2),
    Column("cross-\nentropy", ["0.0651", "0.0803"], spare=3),
    Column("s", ["40", "33"], spare=1),
)


def printed(width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(fitted_table(COLUMNS, width=width))
    return file.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(53, "cross-entropy"), (45, "macro F1, cross-entropy"), (38, "macro F1, cross-entropy, s")],
)
def test_columns_that_can_be_spared_make_room(width: int, left_out: str) -> None:
    """Cross-entropy first; under the table stands what is not in it. Numbers are whole."""
    text = printed(width)

    assert " ".join(text.split()).endswith(f"a wider terminal also shows: {left_out}")
    assert "0.0003262" in text


def test_where_there_is_room_nothing_is_left_out() -> None:
    """And nothing is said."""
    text = printed(54)

    assert "0.0803" in text
    assert "wider" not in text


@given(st.integers(60, 200))
def test_no_line_is_too_long_and_no_cell_is_cut(width: int) -> None:
    """Whatever the terminal's width."""
    text = printed(width)

    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_where_nothing_can_be_spared_axes_are_told_in_words() -> None:
    """Nine axes of a mixed store: one column, several lines."""
    columns = [
        Column("key", ["24cece0f"]),
        *(Column(f"an_axis_{place}", ["0.001427"], axis=True) for place in range(12)),
        Column("accuracy", ["0.9802"]),
        Column("s", ["40"], spare=1),
    ]
    file = io.StringIO()
    Console(file=file, width=80).print(fitted_table(columns, width=80))

    text = file.getvalue()
    assert "an_axis_11=0.001427" in text
    assert "40" in text  # there is room for it again
    assert max(map(len, text.splitlines())) <= 80


CURRENT = TrainingInputs(dataset="d", source="s", versions={"torch": "2"}, device="cpu")


def row(config: TrialConfig, **fields: object) -> TrialRow:
    """A trial that was trained; fields: of its spec, where they are not those of here."""
    known = {"config": config, "dataset": "d", "source": "s", "versions": {"torch": "2"}, **fields}
    spec = TrialSpec.model_validate(known)
    scores = Scores(accuracy=0.5, f1_macro=0.5, cross_entropy=1.0)
    result = TrialResult(
        key=spec.key,
        config=config,
        budget=1,
        epochs=1,
        best_epoch=1,
        scores=scores,
        seconds=1.0,
        checkpoint="best.ckpt",
        checkpoint_digest="0",
        weights_digest="0",
    )
    return TrialRow(StoredTrial(spec=spec, key=spec.key, outcome=result, history=()), CURRENT)


def trained(accuracies: Sequence[float], **fields: object) -> TrialRow:
    """A trial with a history."""
    history = tuple(
        EpochRecord(
            epoch=place,
            train_loss=1.0,
            train_accuracy=0.5,
            validation_loss=1.0,
            validation_accuracy=accuracy,
            validation_f1_macro=0.5,
            learning_rate=0.001,
            seconds=1.0,
        )
        for place, accuracy in enumerate(accuracies, start=1)
    )
    one = row(TrialConfig(), **fields)
    return replace(one, trial=replace(one.trial, history=history))


CURVED = Leaderboard(
    (
        trained([0.0, 0.5, 1.0]),
        trained([0.25] * 40, dataset="e"),
        row(TrialConfig(), dataset="f"),
    ),
    "accuracy",
    "digits 1234",
)


def test_curves_of_all_trials_are_on_one_scale_where_the_terminal_is_wide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They begin at the left: one that was pruned is shorter. A trial without epochs has none."""
    shown = {}
    for columns in ("66", "130"):
        monkeypatch.setenv("COLUMNS", columns)
        print_leaderboard(CURVED, limit=None)
        shown[columns] = capsys.readouterr().out

    assert "also shows: accuracy by epoch" in shown["66"]
    assert "█" not in shown["66"]
    lines = [line for line in shown["130"].splitlines() if "finished" in line]
    assert lines[0].index("▁▅█") == lines[1].index("▃" * 10)
    assert not set(lines[2]) & set("▁▂▃▄▅▆▇█")


def test_a_trial_is_shown_with_the_epoch_that_was_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And curves as long as its terminal allows."""
    lengths = []
    for columns in ("80", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        print_trial(trained([0.25] * 50))
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= int(columns)
        assert "\nweights of epoch 1 of 1\n" in shown
        [line] = [line for line in shown.splitlines() if "validation accuracy ▄" in line]
        lengths.append(line.count("▄"))

    assert lengths == [40, 50]


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({}, "cached"),
        ({"device": "cuda"}, "other device"),
        ({"source": "t", "versions": {}}, "older code, other packages"),
    ],
)
def test_cached_is_what_a_run_of_now_would_take(fields: dict[str, object], origin: str) -> None:
    """A GPU's bits are not those of a CPU, so a trial of one is none of the other."""
    assert row(TrialConfig(), **fields).origin == origin


@pytest.mark.parametrize(
    ("channels", "others"),
    [((32, 64, 64, 128), (32, 64, 64, 256)), ((1000,) * 20, (1000,) * 19 + (1024,))],
)
def test_what_two_trials_differ_in_is_shown_whole(
    capsys: pytest.CaptureFixture[str], channels: tuple[int, ...], others: tuple[int, ...]
) -> None:
    """Lists that begin alike, on several lines where they are long; digests by first digits."""
    one, other = (
        row(TrialConfig(network=CnnConfig(channels=each)), source=digest * 64)
        for each, digest in ((channels, "a"), (others, "b"))
    )

    print_comparison(one, other)

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count(str(others[-1])) == 1
    assert "a" * 8 in shown
    assert "a" * 9 not in shown
    assert "…" not in shown


def test_a_value_of_one_long_word_is_broken_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A package's version with its commit, say."""
    versions = {"torch": "2.13.0.dev20261124+git" + "0123456789" * 8}

    print_comparison(row(TrialConfig()), row(TrialConfig(), versions=versions))

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("9") >= 8
    assert "…" not in shown


def manifest(name: str, digest: str) -> Manifest:
    """What is known of a dataset after it was prepared."""
    facts = {"name": name, "digest": digest, "params": DataParams(name=name)}
    return UNSEEN.model_copy(update=facts)


def store(
    dataset: str, accuracy: float, cross_entropy: float, *, torch: str = "", **config: object
) -> str:
    """Put a trial of the current code into the store; its key."""
    versions = package_versions() | ({"torch": torch} if torch else {})
    spec = TrialSpec(
        config=TrialConfig.model_validate(config),
        dataset=dataset,
        source=training_source_digest(),
        versions=versions,
    )
    scores = Scores(accuracy=accuracy, f1_macro=0.5, cross_entropy=cross_entropy)
    result = trial_result(spec).model_copy(update={"scores": scores})
    write_text(STORE / spec.key / TrialFiles.SPEC, spec.model_dump_json())
    write_text(STORE / spec.key / TrialFiles.RESULT, result.model_dump_json())
    return spec.key


@pytest.fixture
def _datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are prepared; digits were trained on before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.cli.display.trials.device_for", lambda _: "cpu")
    write_text(SAMPLE_SHEETS / "d" / MANIFEST, manifest("digits", "d").model_dump_json())
    write_text(PREPARED / MANIFEST, manifest("photos", "p").model_dump_json())


@pytest.mark.usefixtures("_datasets")
def test_trials_are_those_of_one_dataset_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The prepared one, or another by name; with all of them, each row says which."""
    photos, digits = store("p", 0.5, 1.0), store("d", 0.6, 1.0)

    boards = [
        leaderboard("accuracy", dataset=name, everything=False)
        for name in (None, "photos", "digits", "cars")
    ]
    for board in (boards[0], leaderboard("accuracy", dataset=None, everything=True)):
        print_leaderboard(board, limit=None)

    keys = [[one.trial.key for one in board.rows] for board in boards]
    assert keys == [[photos], [photos], [digits], []]
    one, _, every = capsys.readouterr().out.partition("all datasets")
    assert one.startswith("photos p, by validation accuracy")
    assert "dataset" not in one
    assert "digits d" in every
    assert "photos p" in every


@pytest.mark.usefixtures("_datasets")
@pytest.mark.parametrize(
    ("first", "second", "given", "by", "best"),
    [
        ("accuracy", "accuracy", "cross_entropy", "accuracy", "first"),
        ("cross_entropy", "cross_entropy", "accuracy", "cross_entropy", "second"),
        ("accuracy", "cross_entropy", "cross_entropy", "cross_entropy", "second"),
        ("accuracy", "cross_entropy", "accuracy", "accuracy", "first"),
    ],
)
def test_trials_are_sorted_by_their_objective_or_that_of_the_params(
    first: str, second: str, given: Objective, by: Objective, best: str
) -> None:
    """One objective for all rows: scores of two cannot be compared."""
    keys = {
        "first": store("p", 0.9, 2.0, objective=first),
        "second": store("p", 0.8, 1.0, objective=second, seed=2),
    }

    board = leaderboard(given, dataset=None, everything=False)

    assert board.objective == by
    assert board.rows[0].trial.key == keys[best]


@pytest.mark.usefixtures("_datasets")
def test_a_config_is_listed_once() -> None:
    """As a run would use it, not as it was trained with other packages; --all has both."""
    older, cached = store("p", 0.9, 1.0, torch="1.0"), store("p", 0.8, 1.0)
    only_older = store("p", 0.7, 1.0, torch="1.0", seed=2)

    now = leaderboard("accuracy", dataset=None, everything=False)
    everything = leaderboard("accuracy", dataset=None, everything=True)

    assert [one.trial.key for one in now.rows] == [cached, only_older]
    assert [one.trial.key for one in everything.rows] == [older, cached, only_older]


@pytest.mark.usefixtures("_datasets")
def test_people_are_shown_thirty_rows_and_how_many_there_are_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unless they name a limit."""
    for seed in range(32):
        store("p", 0.5, 1.0, seed=seed)
    board = leaderboard("accuracy", dataset=None, everything=False)
    shown = []
    for limit in (None, 3, 32):
        print_leaderboard(board, limit=limit)
        shown.append(capsys.readouterr().out)

    assert [text.count("finished") for text in shown] == [30, 3, 32]
    assert ["2 more: --limit 32" in shown[0], "29 more: --limit 32" in shown[1]] == [True, True]
    assert "more" not in shown[2]


@pytest.mark.usefixtures("_datasets")
def test_a_trial_that_was_not_tested_is_not_shown_as_told_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Blank is who was tested and is different; the first is tested against nobody."""
    tests = (None, FromBest(p_value=0.5, distinguishable=False), None)
    for seed, accuracy in enumerate((0.9, 0.8, 0.7)):
        store("p", accuracy, 1.0, seed=seed)
    board = leaderboard("accuracy", dataset=None, everything=False)
    rows = [replace(row, from_best=test) for row, test in zip(board.rows, tests, strict=True)]

    print_leaderboard(replace(board, rows=tuple(rows)), limit=None)

    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines() if "finished" in line]
    assert [line[1] for line in lines] == ["finished", "~", "?"]
    assert "?: not tested" in " ".join(text.split())


@pytest.mark.parametrize(
    ("refit", "scored"),
    [(False, "the selected trial"), (True, "its refit on train and validation")],
)
def test_it_is_said_whose_score_on_test_it_is(
    *, refit: bool, scored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refit's is not that of the trial in the leaderboard above it."""
    scores = Scores(accuracy=0.5, f1_macro=0.5, cross_entropy=1.0)
    decision = Decision(retrain=True, reason="forced")

    print_retraining(Retraining(decision=decision, test=scores, refit=refit))

    assert f"Test, {scored}: accuracy 0.5000" in capsys.readouterr().out
