"""A search's best configurations with other seeds: who is trained, and who is selected."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_fixtures import UNSEEN

from flows.records.trial_store import directory_of
from flows.search.progress import Observers
from flows.search.search import Search
from flows.search.state import SearchState
from flows.search.tuning import Tuning
from models.config import Params, SearchParams, TrialConfig, load_params
from models.errors import ConfigError
from models.files import write_text
from models.search.confirmation import (
    Confirmed,
    confirmed,
    describe_confirmation,
    rank_confirmed,
    with_other_seeds,
)
from models.search.proposals import Proposal
from models.trials import (
    Outcome,
    Scores,
    TrialFailure,
    TrialFiles,
    TrialResult,
    TrialSpec,
    result_path,
)

LUCKY, STEADY, WEAK = 16, 32, 64
"""Minibatches: of the configured seed the first is best, of the others the second."""


def searching(**fields: object) -> Params:
    search = {
        "axes": {"minibatch_size": [WEAK, LUCKY, STEADY]},
        "confirm": {"top": 2, "seeds": 3},
        "epochs": 2,
        **fields,
    }
    return Params(search=SearchParams.model_validate(search), trial=TrialConfig(seed=7))


def scores(accuracy: float) -> Scores:
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def outcome(spec: TrialSpec, *, fails: Sequence[tuple[int, int]] = ()) -> Outcome:
    """What a trial comes to, put into the store; fails: (minibatch, seed) of those that diverge."""
    size, seed, directory = spec.config.minibatch_size, spec.config.seed, directory_of(spec.key)
    if (size, seed) in fails:
        failure = TrialFailure(
            key=spec.key, config=spec.config, budget=2, epochs=1, reason="nan", kind="diverged"
        )
        write_text(directory / TrialFiles.FAILURE, failure.model_dump_json())
        return failure
    best = {WEAK: 0.5, LUCKY: 0.9 if seed == 7 else 0.7, STEADY: 0.8}[size]
    result = TrialResult(
        key=spec.key,
        config=spec.config,
        budget=2,
        epochs=2,
        best_epoch=2,
        scores=scores(best + (seed - 9) / 100),
        seconds=1.0,
        checkpoint="best.ckpt",
        checkpoint_digest="0",
        weights_digest="0",
    )
    write_text(result_path(directory, 2), result.model_dump_json())
    write_text(directory / TrialFiles.RESULT, result.model_dump_json())
    return result


def train(
    state: SearchState, *, most: int = 99, fails: Sequence[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """Train what is missing, at most so many; minibatch and seed of each."""
    trained: list[tuple[int, int]] = []
    while len(trained) < most and (taken := state.next_missing()):
        job, trial = taken
        trained.append((trial.spec.config.minibatch_size, trial.spec.config.seed))
        state.record(job, outcome(trial.spec, fails=fails))
    return trained


def search_whole(params: Params, *, fails: Sequence[tuple[int, int]] = ()) -> Tuning:
    search = Search(params, UNSEEN, "cpu")
    state = search.start(Observers(()))
    train(state)
    tuning = state.close()
    again = search.confirm(tuning, Observers(()))
    assert again is not None
    train(again, fails=fails)
    return search.after(tuning, again)


@pytest.fixture(autouse=True)
def _store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_best_mean_over_other_seeds_is_selected_and_the_configured_seed_served() -> None:
    """The lucky one leads by its own seed, which is not counted; no other seed is served."""
    tuning = search_whole(searching())

    first, second = tuning.confirmation
    assert [one.proposal.config.minibatch_size for one, _ in tuning.ranked()] == [
        STEADY,
        LUCKY,
        WEAK,
    ]
    assert (tuning.best.config.minibatch_size, tuning.best.config.seed) == (STEADY, 7)
    assert first.mean is not None
    assert first.deviation is not None
    assert first.mean.accuracy == pytest.approx(0.8)  # seeds 8, 9, 10: 0.79, 0.80, 0.81
    assert first.deviation.accuracy == pytest.approx(0.01)
    assert second.mean is not None
    assert second.mean.accuracy == pytest.approx(0.7)
    assert describe_confirmation(tuning.confirmation, "accuracy") == (
        "selected by the mean accuracy over 3 other seeds, best of 2: minibatch_size=32, 0.8000 +- "
        "0.0100 (n = 3); the next 0.7000 +- 0.0100; the trial of the configured seed is served"
    ).replace("minibatch_size", "minibatch")
    assert (tuning.counts.total, tuning.counts.trained) == (9, 9)
    assert tuning.metrics["confirm/accuracy_mean"] == first.mean.accuracy
    assert tuning.metrics["confirm/seeds"] == 3


def test_a_preview_counts_the_confirmation_before_and_after_the_search() -> None:
    """Six trials more: not known which, then known, then partly trained, then all there."""
    params = searching()
    before = Search(params, UNSEEN, "cpu").preview
    search = Search(params, UNSEEN, "cpu")
    state = search.start(Observers(()))
    train(state)
    between = Search(params, UNSEEN, "cpu").preview
    confirmation = search.confirm(state.close(), Observers(()))
    assert confirmation is not None
    killed = train(confirmation, most=4)
    resumed = Search(params, UNSEEN, "cpu").preview

    assert (before.total, before.later, len(before.missing), before.epochs_left) == (9, 6, 3, 18)
    assert (between.total, len(between.missing), between.epochs_left) == (9, 6, 12)
    assert between.result is None
    assert (resumed.total, len(resumed.missing), resumed.epochs_left) == (9, 2, 4)
    assert killed == [(LUCKY, 8), (LUCKY, 9), (LUCKY, 10), (STEADY, 8)]

    whole = search_whole(params)
    known = Search(params, UNSEEN, "cpu").preview
    assert known.result is not None
    assert known.result.confirmation == whole.confirmation
    assert (known.total, known.missing, known.epochs_left) == (9, (), 0)
    assert whole.counts.cached == 7


def test_pruned_trials_are_not_confirmed() -> None:
    """They were trained less than the trials that they would be averaged with."""
    params = searching()
    tuning, search = search_whole(params), Search(params, UNSEEN, "cpu")
    halved = replace(
        tuning,
        trials=tuple(
            replace(trial, pruned=trial.spec.config.minibatch_size != WEAK)
            for trial in tuning.trials
        ),
        confirmation=(),
    )

    state = search.confirm(halved, Observers(()))

    assert [one.spec.config.minibatch_size for one in halved.candidates(3)] == [WEAK]
    assert state is not None
    assert train(state) == [(WEAK, 8), (WEAK, 9), (WEAK, 10)]
    assert search.after(halved, state).best.config.minibatch_size == WEAK
    assert search.confirm(Tuning((), "accuracy"), Observers(())) is None


def test_who_fails_with_a_seed_comes_after_those_that_do_not() -> None:
    """Its mean over the seeds that went well is shown, with their number."""
    tuning = search_whole(searching(), fails=[(STEADY, 9)])

    first, second = tuning.confirmation
    assert tuning.best.config.minibatch_size == LUCKY
    assert (first.failed, second.failed, second.seeds) == (0, 1, 2)
    assert second.spread("accuracy") == "0.8000 +- 0.0141"

    lost = search_whole(searching(), fails=[(STEADY, 8), (STEADY, 9), (STEADY, 10)])
    assert lost.confirmation[1].spread("accuracy") == "0.8000 +- 0.0141"  # from the store


def test_none_of_the_seeds_succeeds() -> None:
    """There is still an order, and something to say."""
    failure = TrialFailure(
        key="k", config=TrialConfig(), budget=1, epochs=0, reason="nan", kind="diverged"
    )
    lost = confirmed("k", {}, [failure, failure])

    assert (lost.mean, lost.deviation, lost.seeds, lost.failed) == (None, None, 0, 2)
    assert "none succeeded (n = 0)" in describe_confirmation([lost], "accuracy")
    assert rank_confirmed([lost, lost], "accuracy") == (lost, lost)


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=4), min_size=1, max_size=6))
def test_the_first_has_the_greatest_mean_whatever_the_order(values: list[list[float]]) -> None:
    """And no mean is better than the best of its seeds."""
    found = [confirmed(str(n), {}, results(ones)) for n, ones in enumerate(values)]

    first = rank_confirmed(found, "cross_entropy")[0]

    assert first.mean is not None
    assert first.mean.accuracy == pytest.approx(max(map(statistics.fmean, values)))
    assert {one.key for one in rank_confirmed(found[::-1], "accuracy")} == {
        one.key for one in found
    }
    assert all(_mean(one) <= max(ones) + 1e-12 for one, ones in zip(found, values, strict=True))


def _mean(one: Confirmed) -> float:
    return one.mean.accuracy if one.mean else math.nan


def results(accuracies: list[float]) -> list[Outcome]:
    return [
        TrialResult(
            key="k",
            config=TrialConfig(),
            budget=1,
            epochs=1,
            best_epoch=1,
            scores=scores(accuracy),
            seconds=1.0,
            checkpoint="c",
            checkpoint_digest="0",
            weights_digest="0",
        )
        for accuracy in accuracies
    ]


def test_other_seeds_follow_the_own_and_begin_anew_at_the_end() -> None:
    """All below 2**31, and each a trial like any other."""
    proposal = Proposal(TrialConfig(seed=2**31 - 2), {"minibatch_size": 32})

    found = list(with_other_seeds(proposal, 3))

    assert [one.config.seed for one in found] == [2**31 - 1, 0, 1]
    assert [one.label for one in found][1] == "minibatch=32 seed=0"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("search.confirm={top: 0}", "search.confirm.top"),
        ("search.confirm={seeds: 1}", "search.confirm.seeds"),
        ("search.confirm={seed: 3}", "seeds"),
        ("search.confirm=3", "search.confirm"),
    ],
)
def test_bad_values_are_refused_with_their_path(tmp_path: Path, said: str, told: str) -> None:
    """Before anything runs."""
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(ConfigError, match=told):
        load_params(tmp_path / "params.yaml", [said])


def test_seeds_as_an_axis_and_a_confirmation_exclude_each_other(tmp_path: Path) -> None:
    """One says that a seed is a configuration, the other that it is not."""
    (tmp_path / "params.yaml").write_text("search: {axes: {seed: [0, 1]}, confirm: {top: 2}}")
    with pytest.raises(ConfigError, match="drop one of the two"):
        load_params(tmp_path / "params.yaml")
