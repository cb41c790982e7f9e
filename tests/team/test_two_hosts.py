"""Two hosts that share nothing but the servers promote at once: one champion, one ledger."""

import os
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from registry_records import NAME, registration
from team_servers import BUCKET, Team

from flows.records import ledger
from flows.records.promotion import Judgement
from flows.registry.listing import aliases
from flows.registry.promotion.aliases import StaleVerdictError
from flows.registry.promotion.audit import audit_ledger
from flows.registry.promotion.commands import force_promotion, roll_back, settle
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking
from models.config.policies import GateParams
from models.errors import ConfigError
from models.gate.records import GateDecision, RuleResult
from models.processes import children_context

pytest_plugins = ["team_servers"]
pytestmark = [pytest.mark.team, pytest.mark.timeout(900)]
RACERS = FORCED = 16
PRELOADED = (
    *("boto3", "mlflow.tracking.client", "moto", "psycopg2", "pytest", "torch"),
    *("flows.registry.promotion.commands", "flows.registry.registering", "flows.tracking.runs"),
)
"""What racers import, and this module: three seconds each else."""


@pytest.fixture(scope="module")
def hosts(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two folders; three versions are registered, and nobody is champion."""
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in team.environment.items():
            patch.setenv(name, value)
        patch.setenv("PITCHPIPE_LEDGER", f"s3://{BUCKET}/ledger")
        patch.chdir(first)
        tracking = open_tracking(NAME)
        run_id = Runs(tracking).create("a retraining", tags={}, at=1)
        for seed in range(3):
            register(tracking, registration(run_id, seed=seed))
        yield first, second


def judgement(version: int) -> Judgement:
    """Of a gate that promotes it where there is no champion."""
    reason = RuleResult(rule="better", passed=True, text=f"so said for {version}")
    decision = GateDecision.model_validate({"verdict": "PROMOTE", "rules": (reason,)})
    return Judgement(version=version, champion=None, decision=decision)


def race(
    folder: Path, environment: dict[str, str], racer: int, barrier: object, said: "Queue[str]"
) -> None:
    """One promotion of a host: the first 16 by the gate, the others by force."""
    os.chdir(folder)
    os.environ.update(environment)
    tracking = open_tracking(NAME)
    version = racer % 3 + 1
    barrier.wait()  # type: ignore[attr-defined]  # multiprocessing's Barrier has no public type
    try:
        if racer < RACERS:
            move = settle(tracking, judgement(version), GateParams())
        else:
            move = force_promotion(tracking, version, reason=f"racer {racer}")
        said.put("moved" if move.entry else "champion already")
    except StaleVerdictError:
        said.put("stale")
    except BaseException as error:  # noqa: BLE001 - the test shows it
        said.put(repr(error))


def raced(hosts: tuple[Path, Path], racers: range) -> list[str]:
    """What the racers said, every other one on the second host."""
    names = ("MLFLOW_", "AWS_", "PITCHPIPE_")
    environment = {key: value for key, value in os.environ.items() if key.startswith(names)}
    context = children_context()
    if isinstance(context, ForkServerContext):
        context.set_forkserver_preload([*PRELOADED])
    barrier, said = context.Barrier(len(racers)), context.Queue()
    processes = [
        context.Process(target=race, args=(hosts[racer % 2], environment, racer, barrier, said))
        for racer in racers
    ]
    for process in processes:
        process.start()
    found = [said.get(timeout=300) for _ in racers]
    for process in processes:
        process.join()
    return found


def audited(hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """The store, once both hosts have found the same sound ledger."""
    tracking, chains = open_tracking(NAME), []
    for host in hosts:
        monkeypatch.chdir(host)
        found = audit_ledger(tracking)
        assert found.problems == ()
        chains.append([entry.digest for entry in found.entries])
    assert chains[0] == chains[1]
    return tracking


def test_of_sixteen_promotions_on_two_hosts_one_is_made(
    hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were judged against no champion: one host moves, the others hear that it is stale."""
    said = raced(hosts, range(RACERS))
    tracking = audited(hosts, monkeypatch)

    entries = ledger.read().entries
    assert [entry.action for entry in entries] == ["intent", "promote"]
    assert aliases(tracking)["champion"] == entries[-1].after
    assert said.count("moved") == 1
    assert said.count("moved") + said.count("stale") + said.count("champion already") == RACERS


def test_every_forced_move_is_in_the_ledger(
    hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each move that a process was told of is an entry after its intent, and the last one holds."""
    before = len(ledger.read().entries)
    said = raced(hosts, range(RACERS, RACERS + FORCED))
    tracking = audited(hosts, monkeypatch)

    actions = [entry.action for entry in ledger.read().entries[before:]]
    assert set(said) <= {"moved", "champion already"}
    assert actions == ["intent", "promote"] * said.count("moved")
    assert aliases(tracking)["champion"] == ledger.read().champion_of(NAME)


def test_a_move_whose_host_died_is_made_by_another(
    hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent was first, so it counts, although the alias had not been moved."""
    tracking = open_tracking(NAME)
    monkeypatch.chdir(hosts[0])
    champion = force_promotion(tracking, 1, reason="the first").after
    other = 2
    ledger.append(
        ledger.LedgerAction(
            action="intent", intends="promote", name=NAME, before=champion, after=other
        )
    )
    audited((hosts[1], hosts[0]), monkeypatch)

    assert aliases(tracking)["champion"] == other
    assert "completed after a crash" in ledger.read().entries[-1].reasons
    assert roll_back(tracking).after == champion


def test_a_host_without_the_teams_ledger_moves_nothing(
    hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow knows where the ledger is: exit 2, with the variable and its value."""
    monkeypatch.chdir(hosts[1])
    tracking = open_tracking(NAME)
    before = aliases(tracking)
    monkeypatch.delenv("PITCHPIPE_LEDGER")

    with pytest.raises(ConfigError, match=rf"is s3://{BUCKET}/ledger, and PITCHPIPE_LEDGER is not"):
        force_promotion(tracking, 1, reason="alone")
    assert aliases(tracking) == before
