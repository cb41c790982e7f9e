"""The champion and the ledger under any order of moves, crashes and hands, with MLflow's SQLite."""

import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from invariants import broken_invariants, champion
from registry_fixtures import migrated_database
from registry_project import bars_template
from registry_records import BARS
from stored_project import change_database

from flows.records.promotion import Judgement
from flows.registry.promotion import commands
from flows.registry.promotion.aliases import AliasEditor, edit_aliases
from flows.tracking.store import open_tracking
from models.config.policies import GateParams, Verdict
from models.errors import PitchpipeError
from models.gate.records import GateDecision

pytest_plugins = ["faults_fixtures"]

__all__ = ["bars_template", "migrated_database"]

VERSIONS = st.sampled_from([1, 2])


class Crashed(BaseException):
    """The process died here."""


class Registry(RuleBasedStateMachine):
    """Two versions; `expected` is who serves by what was done and ended."""

    template: Path
    """Set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="registry-"))
        self.root = self.home / "project"
        shutil.copytree(self.template, self.root)
        # Its versions were registered in runs that nobody ended.
        change_database(self.root, "update runs set status = 'FINISHED'")
        self.before = Path.cwd()
        os.chdir(self.root)
        os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlruns/mlflow.db"
        self.tracking = open_tracking(BARS)
        self.expected: set[int | None] = {None}
        self.by_hand = False

    def teardown(self) -> None:
        os.chdir(self.before)
        shutil.rmtree(self.home)

    def decided(self, verdict: Verdict, version: int) -> Judgement:
        """A gate decision against the champion of now."""
        decision = GateDecision(verdict=verdict, rules=())
        now = champion(self.root, BARS)
        return Judgement(version=version, champion=now, decision=decision)

    @rule(
        version=VERSIONS,
        verdict=st.sampled_from(["PROMOTE", "HOLD", "REJECT"]),
        approval=st.sampled_from(["automatic", "manual"]),
    )
    def settle(self, version: int, verdict: Verdict, approval: str) -> None:
        """Only an automatic PROMOTE moves the champion."""
        gate = GateParams.model_validate({"approval": approval})
        try:
            moved = commands.settle(self.tracking, self.decided(verdict, version), gate)
        except PitchpipeError:
            assert self.by_hand
            return
        assert not self.by_hand
        if moved.action == "promote":
            assert (verdict, approval) == ("PROMOTE", "automatic")
            self.expected = {version}

    @rule(version=VERSIONS)
    def force(self, version: int) -> None:
        """A forced promotion moves unless a hand was there."""
        try:
            commands.force_promotion(self.tracking, version, reason="a test")
        except PitchpipeError:
            assert self.by_hand
            return
        self.expected = {version}

    @rule(to=VERSIONS | st.none())
    def roll_back(self, to: int | None) -> None:
        """With a version it always goes there, and undoes what a hand did."""
        try:
            moved = commands.roll_back(self.tracking, to=to)
        except PitchpipeError:
            assert to is None
            return
        self.expected, self.by_hand = {moved.after}, False
        assert to in (None, moved.after)

    @rule(version=VERSIONS)
    def reject(self, version: int) -> None:
        """Never moves the champion, never rejects it."""
        try:
            commands.reject_version(self.tracking, version)
        except PitchpipeError:
            return
        assert version not in self.expected

    @rule(version=VERSIONS)
    def approve(self, version: int) -> None:
        """Moves only who waits."""
        try:
            moved = commands.approve_version(self.tracking, version)
        except PitchpipeError:
            return
        self.expected = {moved.after}

    @rule(version=VERSIONS)
    @precondition(lambda self: self.expected != {None})
    def move_by_hand(self, version: int) -> None:
        """Somebody uses MLflow's page."""
        if not self.by_hand and len(self.expected) == 1:
            self.tracking.client.set_registered_model_alias(BARS, "champion", str(version))
            self.by_hand = {version} != self.expected

    @rule()
    @precondition(lambda self: self.by_hand)
    def adopt(self) -> None:
        """What the hand did counts from now on."""
        commands.adopt_champion(self.tracking, reason="a test")
        self.expected, self.by_hand = {champion(self.root, BARS)}, False

    @rule(version=VERSIONS, after_alias=st.booleans())
    @precondition(lambda self: not self.by_hand)
    def crash_in_a_promotion(self, version: int, after_alias: bool) -> None:  # noqa: FBT001
        """Between intent and alias, or between alias and deed; whoever comes next settles it."""
        point = AliasEditor._point

        def dying(editor: AliasEditor, action: object) -> None:
            if after_alias:
                point(editor, action)  # type: ignore[arg-type]
            raise Crashed

        with patch.object(AliasEditor, "_point", dying):
            try:
                commands.force_promotion(self.tracking, version, reason="dies")
            except Crashed:
                if after_alias:
                    self.expected = {version}
        assert broken_invariants(self.root) == []
        with edit_aliases(self.tracking) as held:
            assert held.hand_moved is None

    @invariant()
    def champion_is_who_was_made_it(self) -> None:
        """And files, ledger and aliases agree, but for what a hand did."""
        found = broken_invariants(self.root, at_rest=True)
        if self.by_hand:
            assert [one for one in found if not one.startswith("champion of")] == []
        else:
            assert found == []
            assert champion(self.root, BARS) in self.expected


def run_machine(template: Path, *, examples: int, steps: int) -> None:
    Registry.template = template
    machine = Registry.TestCase
    machine.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")


def test_a_few_orders_of_moves_leave_one_champion(bars_template: Path) -> None:
    """Promote, reject, roll back, approve, adopt, by hand, with crashes."""
    run_machine(bars_template, examples=3, steps=10)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_many_orders_of_moves_leave_one_champion(bars_template: Path) -> None:
    """The same, a hundred orders of thirty moves."""
    run_machine(bars_template, examples=100, steps=30)
