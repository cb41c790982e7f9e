"""Whole retrainings killed at any moment, while other commands move the champion in between."""

import random
from pathlib import Path

import pytest
from dying_command import Fate
from invariants import broken_invariants, champion
from project_folder import Ran, overrides
from stored_project import NAME, copied
from warm_commands import KILLED, WarmCommands

pytest_plugins = ["faults_fixtures"]

KILLS = 10
MOVES = (
    "promote 1 --force --reason x",
    "promote 2 --force --reason x",
    "rollback --to 1",
    "rollback --to 2",
    "reject 2",
    "adopt --reason x",
)


class Retrainings:
    """A project whose retrainings die, each before an event of its own or after some seconds."""

    def __init__(self, warm: WarmCommands, stored: Path, folder: Path, seed: int) -> None:
        self.warm, self.random = warm, random.Random(seed)
        self.root = copied(stored, folder / "project")
        self.kills = self.rounds = 0
        self.events = self._events(copied(stored, folder / "counted"))

    def _events(self, root: Path) -> int:
        """How many moments there are to die at, when nobody kills it."""
        fate = Fate(count_into=str(root / "count"))
        assert self.warm.run(root, *command(0), fate=fate, seconds=300).code in (0, 3)
        return int((root / "count").read_text())

    def run(self, most: int) -> None:
        """Kill so many; every third has new trials, the others go on with the last one's."""
        while self.kills < most and self.rounds < 2 * most:
            fate = self._fate()
            ran = self.retrain(fate)
            self.kills += ran.code == KILLED
            assert ran.code in (KILLED, 0, 3), (fate, ran)
            assert broken_invariants(self.root) == [], fate
            self.move(self.random.choice(MOVES))

    def _fate(self) -> Fate:
        if self.random.random() < 0.5:
            return Fate(die_at=self.random.randint(1, self.events))
        return Fate(die_after=self.random.uniform(0, 12))

    def retrain(self, fate: Fate) -> Ran:
        self.rounds += 1
        return self.warm.run(self.root, *command(self.rounds // 3), fate=fate, seconds=300)

    def move(self, words: str) -> None:
        """Another command has its will, or says why not; a forced one always has it."""
        ran = self.warm.run(self.root, *words.split())
        assert ran.code in (0, 1, 2, 3), ran
        assert "Traceback" not in ran.err, ran.err
        assert broken_invariants(self.root) == [], words
        wanted = words.split()[1 if words.startswith("promote") else -1]
        if wanted.isdecimal() and not words.startswith("reject"):
            assert (ran.code, champion(self.root, NAME)) == (0, int(wanted)), ran


def command(number: int) -> list[str]:
    """A retraining of two trials of its own."""
    seeds = [10 + 2 * number, 11 + 2 * number]
    return ["run", "--force", *overrides("search.epochs=2", f"search.axes={{seed: {seeds}}}")]


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_retrainings_and_moves_between_leave_all_whole(
    warm: WarmCommands, stored: Path, tmp_path: Path, seed: int
) -> None:
    """After each kill and each move; then a retraining that is let ends well."""
    retrainings = Retrainings(warm, stored, tmp_path, seed)

    retrainings.run(KILLS)

    last = retrainings.retrain(Fate())
    assert last.code in (0, 3), last.err
    assert retrainings.kills >= KILLS
    assert warm.run(retrainings.root, "audit", "--verify").code == 0
    assert broken_invariants(retrainings.root, at_rest=True) == []
