"""A search and the trial store: what is previewed, trained and left out when a limit is reached."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from training_fixtures import UNSEEN

from flows.records.search_journal import JOURNALS
from flows.records.trial_store import Answer, PrunedMarks, directory_of
from flows.search.progress import Observers
from flows.search.search import Search
from flows.search.state import SearchState, choose_action
from models.config import Params, SearchParams, TrialConfig
from models.files import append_line, read_lines, write_text
from models.search.proposals import make_proposal
from models.trials import (
    EpochRecord,
    TrialFailure,
    TrialFiles,
    TrialResult,
    TrialSpec,
    result_path,
)


@pytest.fixture(autouse=True)
def _store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def searching(**fields: object) -> Params:
    search = {"pruner": "asha", "epochs": 9, "axes": {"seed": list(range(9))}, **fields}
    return Params(search=SearchParams.model_validate(search))


def search_of(params: Params) -> Search:
    return Search(params, UNSEEN, "cpu")


def start(params: Params) -> SearchState:
    return search_of(params).start(Observers(()))


def spec_of(seed: int) -> TrialSpec:
    return search_of(Params()).trial(make_proposal(Params(), {"seed": seed})).spec


def journal() -> list[Any]:
    """Lines of the journals: decisions and outcomes."""
    paths = JOURNALS.glob("*.jsonl")
    return [json.loads(line) for path in paths for line in read_lines(path)]


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


def search_on(state: SearchState) -> list[tuple[int, int]]:
    """Train what is missing; return (number, budget) of each job."""
    jobs = []
    while taken := state.next_missing():
        job, trial = taken
        jobs.append((job.number, job.budget))
        state.record(job, trained(trial.spec, epochs=job.budget))
    return jobs


def test_when_time_is_up_a_pruner_is_asked_nothing_more() -> None:
    """Its journal holds no question that nobody was to answer: a longer search is free to ask."""
    assert search_on(start(searching(max_seconds=1e-9))) == []
    assert journal() == []

    assert search_on(start(searching()))[0] == (0, 1)


def test_when_time_is_up_between_two_trials_what_was_trained_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two jobs, a minute each, in 90 seconds: two questions and two answers are on record."""
    clock = itertools.count(0, 30)
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))

    state = start(searching(max_seconds=90))

    assert len(search_on(state)) == len(state.close().outcomes) >= 2
    assert len(journal()) == 2 * len(state.close().outcomes)


def test_without_a_pruner_cached_trials_are_found_when_time_is_up() -> None:
    """They cost no time."""
    params = searching(pruner="none", max_seconds=1e-9)
    for seed in (2, 7):
        trained(spec_of(seed), epochs=9)

    state = start(params)

    assert search_on(state) == []
    assert [outcome.config.seed for outcome in state.close().outcomes] == [2, 7]


def test_what_a_history_tells_is_not_trained_again() -> None:
    """Trained to 10 epochs before, asked for 1, 3 and 9 by a search of 27: only 27 is missing.

    One of them was trained further than that, too: it answers with what it has of 10.
    """
    params = searching(epochs=27, axes={"seed": [0, 1, 2]})
    for seed in range(3):
        trained(spec_of(seed), epochs=10)
    trained(spec_of(0), epochs=81)
    state, told = start(params), list[tuple[int, float]]()

    jobs = search_on(state)

    for line in journal():
        if line["kind"] == "told":
            told.append((line["budget"], round(line["scores"]["accuracy"], 3)))
    assert jobs == [(2, 27)]
    assert {(1, 0.001), (1, 0.021), (3, 0.023), (9, 0.029), (27, 0.047)} <= set(told)
    assert [outcome.budget for outcome in state.close().outcomes] == [10, 10, 27]


def test_a_trial_of_more_epochs_than_the_search_has_no_head_start() -> None:
    """Its scores after 27 epochs are none of a search of 9: it is trained to what is asked."""
    for seed in range(3):
        trained(spec_of(seed), epochs=27)

    state = start(searching(axes={"seed": [0, 1, 2]}))

    assert search_on(state) == [(0, 1), (1, 1), (2, 1), (2, 3), (2, 9)]
    assert [outcome.budget for outcome in state.close().outcomes] == [1, 1, 9]


def test_resumed_trials_count_only_the_epochs_they_lack() -> None:
    """Four trials of 10 epochs, raised to 12: 8 epochs and not 48; 27 epochs do not hide 12."""
    params = searching(pruner="none", epochs=12, axes={"seed": [0, 1, 2, 3]})

    assert search_of(params).preview.epochs_left == 48
    for seed in range(4):
        trained(spec_of(seed), epochs=10)
    assert search_of(params).preview.epochs_left == 8
    trained(spec_of(0), epochs=27)
    assert search_of(params).preview.epochs_left == 12 + 6


def test_a_preview_has_the_trials_that_the_epochs_are_enough_for() -> None:
    """Three trials of nine epochs are 27 of 30; one of them is cached. Those left are not later."""
    trained(spec_of(1), epochs=9)

    preview = search_of(searching(pruner="none", max_epochs_total=30)).preview

    assert [trial.spec.config.seed for trial in preview.missing] == [0, 2]
    assert (preview.total, preview.later, preview.epochs_left) == (3, 0, 18)
    assert preview.result is None


def test_a_preview_changes_nothing_of_the_search_that_follows(tmp_path: Path) -> None:
    """The same jobs in the same order, though the store was read before and is not read again."""
    jobs = []
    for name in ("previewed", "not previewed"):
        (tmp_path / name).mkdir()
        with contextlib.chdir(tmp_path / name):
            for seed in (1, 4):
                trained(spec_of(seed), epochs=3)
            search = search_of(searching())
            if name == "previewed":
                assert len(search.preview.missing) == 9
            jobs.append(search_on(search.start(Observers(()))))

    assert jobs[0] == jobs[1] != []


@pytest.mark.parametrize(
    ("known", "affordable", "late", "action"),
    [
        (True, True, False, "known"),
        (True, True, True, "known"),
        (True, False, False, "stop"),
        (False, True, False, "train"),
        (False, True, True, "skip"),
        (False, False, True, "stop"),
    ],
)
def test_the_action_for_a_job(*, known: bool, affordable: bool, late: bool, action: str) -> None:
    """A budget that is spent stops the search; time that is up spares what is known."""
    stored = Answer(trained(spec_of(0), epochs=1), None) if known else None

    chosen = choose_action(stored, affordable=affordable, late=late)

    assert chosen == (stored if action == "known" else action)


ENDED = [
    searching(),
    searching(pruner="median", strategy="random", trials=6, min_trials=2),
    searching(pruner="hyperband", max_epochs_total=12),
    searching(pruner="none", max_epochs_total=20),
    searching(max_seconds=1e9),
]


@pytest.mark.parametrize("params", ENDED)
def test_a_search_that_ended_is_known_and_nothing_of_it_is_missing(
    params: Params,
) -> None:
    """By its journal and the store: who was pruned, what came of the rest; nothing is written."""
    state = search_of(params).start(Observers((PrunedMarks(),)))
    assert search_on(state)
    ended, files = state.close(), contents()

    preview = search_of(params).preview

    known = preview.result
    assert known
    assert known.outcomes == ended.outcomes
    assert known.counts.trained == 0
    assert known.counts.pruned == ended.counts.pruned
    assert [trial.key for trial in preview.trials] == [trial.key for trial in ended.trials]
    assert preview.missing == ()
    assert contents() == files


@pytest.mark.parametrize("pruner", ["none", "asha"])
@pytest.mark.parametrize(
    ("minutes", "again", "missing"),
    [(5, False, []), (4, False, []), (6, False, [0]), (None, False, [0]), (5, True, [0])],
)
def test_who_was_too_slow_is_tried_again_with_more_time_or_by_force(
    pruner: str,
    minutes: float | None,
    *,
    again: bool,
    missing: list[int],
) -> None:
    """Within five minutes no epoch ended; the other trials are known."""
    limited = searching(pruner=pruner, axes={"seed": [0, 1]}, trial_timeout_minutes=5)
    state = start(limited)
    while taken := state.next_missing():
        job, trial = taken
        slow = trial.spec.config.seed == 0
        state.record(job, timed_out(trial.spec) if slow else trained(trial.spec, epochs=job.budget))

    search = limited.search.model_copy(update={"trial_timeout_minutes": minutes})
    preview = Search(
        limited.model_copy(update={"search": search}), UNSEEN, "cpu", again=again
    ).preview

    assert [trial.spec.config.seed for trial in preview.missing] == missing


def timed_out(spec: TrialSpec) -> TrialFailure:
    """Put a trial into the store none of whose epochs ended within five minutes."""
    failure = TrialFailure(
        key=spec.key,
        config=spec.config,
        budget=9,
        epochs=0,
        reason="too slow",
        kind="timed out",
        limit_minutes=5,
    )
    write_text(directory_of(spec.key) / TrialFiles.FAILURE, failure.model_dump_json())
    return failure


def test_a_search_that_was_killed_is_to_go_on() -> None:
    """It is not known, its trials are missing, and asking so leaves its journal as it was."""
    params = searching()
    state = start(params)
    for _ in range(4):
        taken = state.next_missing()
        assert taken
        state.record(taken[0], trained(taken[1].spec, epochs=taken[0].budget))
    path = next(JOURNALS.iterdir())
    path.write_text(path.read_text()[:-7])
    files = contents()

    preview = search_of(params).preview
    assert preview.result is None
    assert len(preview.missing) == 9
    assert contents() == files


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_the_median_rule_is_told_averages_over_the_epochs() -> None:
    """Accuracy grows by 0.001 an epoch: the best of three is the third, their mean the second."""
    search_on(start(searching(pruner="median", epochs=3, axes={"seed": [4]})))

    told = [line for line in journal() if line["kind"] == "told"]
    assert [line["budget"] for line in told] == [1, 3]
    assert [line["scores"]["accuracy"] for line in told] == pytest.approx([0.041, 0.043])
    assert [line["averages"]["accuracy"] for line in told] == pytest.approx([0.041, 0.042])
    assert [line["averages"]["cross_entropy"] for line in told] == pytest.approx([0.959, 0.958])
