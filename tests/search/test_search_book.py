"""The book of a search: what is asked when time is up, and what the store answers."""

import itertools
import json
from pathlib import Path

import pytest

from flows.records.search_journal import JOURNALS, Recorded
from flows.records.trial_store import PrunedMarks, directory_of
from flows.search.plan import Plan, PlannedTrial, SpecMaker
from flows.search.planning import epochs_left, foreseen, known_tuning
from flows.search.progress import Observers
from flows.search.search_state import Book, open_book
from models.config import DataParams, Params, SearchParams, TrialConfig
from models.datasets.prepared import Dropped, Manifest
from models.files import append_line, read_lines, write_text
from models.search.proposals import Proposal
from models.search.strategies import strategy_of
from models.trials import EpochRecord, TrialFiles, TrialResult, TrialSpec, result_path

JOURNAL = Path("journal.jsonl")
MANIFEST = Manifest(
    name="d",
    digest="d",
    raw_digest="r",
    classes=("0", "1"),
    image_size=8,
    channels=1,
    mean=(0.5,),
    std=(0.5,),
    splits={},
    images=0,
    dropped=Dropped(),
    params=DataParams(),
)
SPECS = SpecMaker(dataset="d", source="s", versions={}, device="cpu")


@pytest.fixture(autouse=True)
def _store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def searching(**fields: object) -> Params:
    search = {"pruner": "asha", "epochs": 9, "axes": {"seed": list(range(9))}, **fields}
    return Params(search=SearchParams.model_validate(search))


def book_of(params: Params) -> Book:
    strategy = strategy_of(params)
    if params.search.pruner != "none":
        strategy = Recorded(strategy, JOURNAL)
    return Book(params, SPECS, strategy, Observers(()))


def trained(spec: TrialSpec, *, epochs: int) -> TrialResult:
    """Put a trial into the store whose accuracy grows each epoch, the more the higher its seed."""
    directory = directory_of(spec.key)
    directory.joinpath(TrialFiles.HISTORY).unlink(missing_ok=True)
    records = [_record(spec.config, epoch) for epoch in range(1, epochs + 1)]
    for record in records:
        append_line(directory / TrialFiles.HISTORY, record.model_dump_json())
    result = TrialResult(
        key=spec.key,
        config=spec.config,
        budget=epochs,
        epochs=epochs,
        best_epoch=epochs,
        scores=records[-1].scores,
        seconds=float(epochs),
        checkpoint="best.ckpt",
        checkpoint_digest="0",
        weights_digest="0",
    )
    write_text(result_path(directory, epochs), result.model_dump_json())
    write_text(directory / TrialFiles.RESULT, result.model_dump_json())
    return result


def _record(config: TrialConfig, epoch: int) -> EpochRecord:
    accuracy = config.seed / 100 + epoch / 1000
    return EpochRecord(
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=accuracy,
        validation_loss=1 - accuracy,
        validation_accuracy=accuracy,
        validation_f1_macro=accuracy,
        learning_rate=0.001,
        seconds=1.0,
    )


def search_on(book: Book) -> list[tuple[int, int]]:
    """Train what is missing; return (number, budget) of each job."""
    jobs = []
    while taken := book.next_missing():
        job, entry = taken
        jobs.append((job.number, job.budget))
        book.ended(job, trained(entry.spec, epochs=job.budget))
    return jobs


def test_when_time_is_up_a_pruner_is_asked_nothing_more() -> None:
    """Its journal holds no question that nobody was to answer: a longer search is free to ask."""
    assert search_on(book_of(searching(max_seconds=1e-9))) == []
    assert list(read_lines(JOURNAL)) == []

    assert search_on(book_of(searching()))[0] == (0, 1)


def test_when_time_is_up_between_two_trials_what_was_trained_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two jobs, a minute each, in 90 seconds: two questions and two answers are on record."""
    clock = itertools.count(0, 30)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))

    book = book_of(searching(max_seconds=90))

    assert len(search_on(book)) == len(book.close().outcomes) >= 2
    assert len(list(read_lines(JOURNAL))) == 2 * len(book.close().outcomes)


def test_without_a_pruner_cached_trials_are_found_when_time_is_up() -> None:
    """They cost no time."""
    params = searching(pruner="none", max_seconds=1e-9)
    for seed in (2, 7):
        trained(SPECS.spec(TrialConfig(seed=seed)), epochs=9)

    book = book_of(params)

    assert search_on(book) == []
    assert [outcome.config.seed for outcome in book.close().outcomes] == [2, 7]


def test_what_a_history_tells_is_not_trained_again() -> None:
    """Trained to 10 epochs before, asked for 1, 3 and 9 by a search of 27: only 27 is missing.

    One of them was trained further than that, too: it answers with what it has of 10.
    """
    params = searching(epochs=27, axes={"seed": [0, 1, 2]})
    for seed in range(3):
        trained(SPECS.spec(TrialConfig(seed=seed)), epochs=10)
    trained(SPECS.spec(TrialConfig(seed=0)), epochs=81)
    book, told = book_of(params), list[tuple[int, float]]()

    jobs = search_on(book)

    for line in map(json.loads, read_lines(JOURNAL)):
        if line["kind"] == "told":
            told.append((line["budget"], round(line["scores"]["accuracy"], 3)))
    assert jobs == [(2, 27)]
    assert {(1, 0.001), (1, 0.021), (3, 0.023), (9, 0.029), (27, 0.047)} <= set(told)
    assert [outcome.budget for outcome in book.close().outcomes] == [10, 10, 27]


def test_a_trial_of_more_epochs_than_the_search_has_no_head_start() -> None:
    """Its scores after 27 epochs are none of a search of 9: it is trained to what is asked."""
    for seed in range(3):
        trained(SPECS.spec(TrialConfig(seed=seed)), epochs=27)

    book = book_of(searching(axes={"seed": [0, 1, 2]}))

    assert search_on(book) == [(0, 1), (1, 1), (2, 1), (2, 3), (2, 9)]
    assert [outcome.budget for outcome in book.close().outcomes] == [1, 1, 9]


def test_resumed_trials_count_only_the_epochs_they_lack() -> None:
    """Four trials of 10 epochs, raised to 12: 8 epochs and not 48; 27 epochs do not hide 12."""
    params = searching(pruner="none", epochs=12, axes={"seed": [0, 1, 2, 3]})
    seeds = [TrialConfig(seed=seed) for seed in range(4)]
    planned = [Proposal(config, {"seed": config.seed}) for config in seeds]
    trials = [
        PlannedTrial(one, SPECS.spec(one.config), SPECS.spec(one.config).key, None)
        for one in planned
    ]
    plan = Plan(tuple(trials), budget=12, objective="accuracy")

    assert epochs_left(params, plan) == 48
    for trial in trials:
        trained(trial.spec, epochs=10)
    assert epochs_left(params, plan) == 8
    trained(trials[0].spec, epochs=27)
    assert epochs_left(params, plan) == 12 + 6


ENDED = [
    searching(),
    searching(pruner="median", strategy="random", trials=6, min_trials=2),
    searching(pruner="hyperband", max_epochs_total=12),
    searching(pruner="none", max_epochs_total=20),
    searching(max_seconds=1e9),
]


@pytest.mark.parametrize("params", ENDED)
def test_a_search_that_ended_is_known_and_nothing_of_it_is_missing(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its journal and the store: who was pruned, what came of the rest; nothing is written."""
    monkeypatch.setattr("flows.search.planning.prepared_is_current", lambda _: True)
    monkeypatch.setattr("flows.search.planning.read_manifest", lambda _: MANIFEST)
    book = open_book(params, MANIFEST, "cpu", observers=Observers((PrunedMarks(),)))
    assert search_on(book)
    ended, files = book.close(), contents()

    known, plan = known_tuning(params, "cpu"), foreseen(params, MANIFEST, "cpu")

    assert known
    assert known.outcomes == ended.outcomes
    assert known.counts.trained == 0
    assert known.counts.pruned == ended.counts.pruned
    assert [trial.key for trial in plan.trials] == [trial.key for trial in ended.plan.trials]
    assert plan.missing == ()
    assert contents() == files


def test_a_search_that_was_killed_is_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known, its trials are missing, and asking so leaves its journal as it was."""
    monkeypatch.setattr("flows.search.planning.prepared_is_current", lambda _: True)
    monkeypatch.setattr("flows.search.planning.read_manifest", lambda _: MANIFEST)
    params = searching()
    book = open_book(params, MANIFEST, "cpu", observers=Observers(()))
    for _ in range(4):
        taken = book.next_missing()
        assert taken
        book.ended(taken[0], trained(taken[1].spec, epochs=taken[0].budget))
    journal = next(JOURNALS.iterdir())
    journal.write_text(journal.read_text()[:-7])
    files = contents()

    assert known_tuning(params, "cpu") is None
    assert len(foreseen(params, MANIFEST, "cpu").missing) == 9
    assert contents() == files


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
