"""The journal of a search: a process that dies repeats what was decided, then goes on."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.records.search_journal import JournaledStrategy
from models.config import TrialConfig
from models.config.search import SearchParams
from models.search.proposals import Proposal
from models.search.strategies import pruned_strategy
from models.search.strategy import FixedProposer, Job, Strategy
from models.trials import Scores

TRIALS = 9


def asha(*, epochs: int = 9) -> Strategy:
    proposals = [Proposal(TrialConfig(seed=n), {"seed": n}) for n in range(TRIALS)]
    search = SearchParams(pruner="asha", epochs=epochs)
    return pruned_strategy(FixedProposer(proposals), search, by="accuracy")


def scored(number: int) -> Scores:
    """Trial 7 is best."""
    accuracy = 1 - abs(number - 7) / 10
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def run(
    strategy: JournaledStrategy, order: random.Random, *, steps: int = 10**6
) -> list[tuple[int, int]]:
    """Search with two workers that end in any order, until it ends or is killed after steps."""
    running: list[Job] = []
    asked: list[tuple[int, int]] = []
    for _ in range(steps):
        while len(running) < 2 and (job := strategy.ask()):
            running.append(job)
            asked.append((job.number, job.budget))
        if not running:
            break
        job = running.pop(order.randrange(len(running)))
        strategy.tell(job, scored(job.number))
    return asked


@settings(deadline=None, max_examples=25)  # each appends and flushes some forty lines
@given(st.lists(st.integers(0, 8), max_size=4), st.integers(0, 10**6))
def test_killed_any_number_of_times_no_decision_is_taken_back(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int], seed: int
) -> None:
    """What was asked before each kill is asked first after it, in the same order."""
    path = tmp_path_factory.mktemp("search") / "journal.jsonl"
    order = random.Random(seed)
    before: list[tuple[int, int]] = []
    for steps in [*kills, 10**6]:
        again = run(JournaledStrategy(asha(), path), order, steps=len(before) + steps)
        assert again[: len(before)] == before
        before = again

    assert run(JournaledStrategy(asha(), path), random.Random(seed + 1)) == before
    assert len(before) == len(set(before))


def test_a_search_that_ended_asks_the_same_and_writes_nothing_more(tmp_path: Path) -> None:
    """Asked again it is a reading of its journal."""
    path = tmp_path / "journal.jsonl"
    asked = run(JournaledStrategy(asha(), path), random.Random(1))
    text = path.read_text()

    assert run(JournaledStrategy(asha(), path), random.Random(2)) == asked
    assert path.read_text() == text


def test_a_torn_or_alien_line_ends_the_journal(tmp_path: Path) -> None:
    """What stands before it is repeated, what follows is decided anew."""
    path = tmp_path / "journal.jsonl"
    asked = run(JournaledStrategy(asha(), path), random.Random(1))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:7]) + '{"kind": "forgot"}\n' + lines[7] + lines[8][:9])
    kept = sum('"asked"' in line for line in lines[:7])

    again = run(JournaledStrategy(asha(), path), random.Random(3))

    assert again[:kept] == asked[:kept]
    assert "forgot" not in path.read_text()


def test_decisions_after_a_failure_that_may_heal_are_taken_anew(tmp_path: Path) -> None:
    """Memory was short once: the trial is asked again, and its scores count."""
    path = tmp_path / "journal.jsonl"
    first = JournaledStrategy(asha(), path)
    while job := first.ask():
        first.tell(job, None)

    asked = run(JournaledStrategy(asha(), path, stands=lambda _: False), random.Random(1))
    divergent = tmp_path / "divergent.jsonl"
    second = JournaledStrategy(asha(), divergent)
    while job := second.ask():
        second.tell(job, None)

    assert (7, 9) in asked
    assert run(JournaledStrategy(asha(), divergent), random.Random(1)) == [
        (n, 1) for n in range(TRIALS)
    ]


def test_decisions_that_the_strategy_would_not_take_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal of another release: said, and gone on with what the strategy asks now."""
    path = tmp_path / "journal.jsonl"
    run(JournaledStrategy(asha(), path), random.Random(1))

    asked = run(JournaledStrategy(asha(epochs=4), path), random.Random(1))

    assert "another release" in caplog.text
    assert {budget for _, budget in asked} == {1, 4}
    assert run(JournaledStrategy(asha(epochs=4), path), random.Random(9)) == asked
