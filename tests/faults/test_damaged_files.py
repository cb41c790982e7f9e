"""Every kind of file that pitchpipe writes, damaged in every way, read by every command.

A command ends with a code of its own and one message, never with a traceback, never with another
champion and never with other scores or labels than before.
"""

import functools
import itertools
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from dying_command import Fate
from project_folder import Ran, overrides
from stored_project import copied
from warm_commands import WarmCommands

pytest_plugins = ["faults_fixtures"]

Damage = Callable[[Path, random.Random], object]

OWN_CODES = (0, 1, 2, 3)
TOLD = ("status", "doctor", "versions", "audit")
"""Commands that read nearly everything; each in half a second."""
KINDS: dict[str, tuple[str, ...]] = {
    "params.yaml": ("params", "run --dry-run"),
    "schedules.yaml": ("schedule list", "schedule pause nightly"),
    "dvc.yaml": ("data status", "run --dry-run"),
    "dvc.lock": ("data status", "run --dry-run"),
    ".dvc/config": ("data status",),
    "data/versions.jsonl": ("data log", "data status", "data restore d139"),
    "data/prepare.yaml": ("data status", "prepare"),
    "data/.digests.json": ("data status", "prepare"),
    "data/.ids/*.npz": ("prepare", "data add delivery --name more"),
    "data/raw/digits.dvc": ("data status", "data log"),
    "data/raw/digits/digits.parquet": ("data status", "prepare"),
    "data/prepared/manifest.json": ("evaluate 2", "prepare"),
    "data/prepared/test/images.npy": ("evaluate 2", "prepare"),
    "data/prepared/test/labels.npy": ("evaluate 2", "promote 2"),
    "data/prepared/test/ids.npy": ("evaluate 2", "promote 2"),
    "mlruns/trials/981d*/trial.json": ("trials --all", "trials show 981d"),
    "mlruns/trials/981d*/history.jsonl": ("trials --all", "trials show 981d"),
    "mlruns/trials/981d*/result.json": ("trials --all", "trials show 981d"),
    "mlruns/trials/981d*/results/000006.json": ("trials show 981d",),
    "mlruns/trials/1c61*/failure.json": ("trials --all",),
    "mlruns/trials/981d*/evaluations/*/evaluation.json": ("trials show 981d",),
    "mlruns/trials/981d*/evaluations/*/probabilities.npy": ("trials show 981d",),
    "mlruns/ledger.jsonl": ("audit --verify", "reject 2", "promote 2 --force --reason x"),
    "mlruns/evidence/*.json": ("audit --verify", "rollback --to 2"),
    "mlruns/last_retraining.json": ("run --dry-run",),
    "mlruns/completed/*.json": ("run --dry-run",),
    "mlruns/flow_runs/*/*.jsonl": ("sync",),
    "mlruns/searches/*.jsonl": ("run --dry-run",),
    "mlruns/drift/*/*.json": ("sync",),
    "mlruns/datasets/*/manifest.json": ("trace 2",),
    "mlruns/mlflow.db": ("evaluate 2", "sync", "reject 2"),
    "mlruns/artifacts/*/models/*/artifacts/data/model.pt2": ("evaluate 2", "promote 2"),
    "mlruns/artifacts/*/models/*/artifacts/MLmodel": ("evaluate 2", "trace 2"),
    "mlruns/artifacts/*/models/*/artifacts/pitchpipe/lineage.json": ("trace 2", "evaluate 2"),
    "mlruns/artifacts/*/models/*/artifacts/pitchpipe/trained_ids.npy": ("promote 2",),
    "mlruns/artifacts/*/models/*/artifacts/pitchpipe/evaluation.json": ("versions show 2",),
    ".prefect/prefect.db": ("schedule list",),
}
"""Pattern -> commands that depend on such a file, besides those of TOLD."""
SHORT = ("mlruns/trials/981d*/result.json", "mlruns/completed/*.json", "mlruns/drift/*/*.json")


def truncated(path: Path, chance: random.Random) -> None:
    """Cut the file somewhere inside."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(1, len(content))])


def flipped(path: Path, chance: random.Random) -> None:
    """Turn round one bit."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def emptied(path: Path, _: random.Random) -> None:
    """Leave no byte, as a crash of the machine may."""
    path.write_bytes(b"")


def garbage(path: Path, chance: random.Random) -> None:
    """Bytes that mean nothing, in the same number."""
    path.write_bytes(chance.randbytes(path.stat().st_size))


def read_only(path: Path, _: random.Random) -> None:
    """Take away the right to write, of the file and of its folder."""
    path.chmod(0o444)
    path.parent.chmod(0o555)


def unreadable(path: Path, _: random.Random) -> None:
    """Take away every right."""
    path.chmod(0)


DAMAGES: tuple[Damage, ...] = (truncated, flipped, emptied, garbage, read_only, unreadable)


@functools.cache
def answers(warm: WarmCommands, stored: Path, command: str) -> Any:
    """What a command says of the whole project."""
    return warm.run(stored, *command.split(), "--json").document


def assert_honest(ran: Ran, command: str, whole: Any) -> None:
    """It ended by its own will, said so in a sentence, and told nothing false."""
    assert ran.code in OWN_CODES, f"{command}: ended with {ran.code}\n{ran.err}"
    assert "Traceback" not in ran.err, f"{command}: {ran.err}"
    if ran.code in (1, 2):
        assert ran.err.strip() or ran.out.strip(), f"{command}: {ran.code} without a word"
    if ran.code != 0:
        return
    if command == "versions":
        assert aliases(ran.document) == aliases(whole)
    elif command == "status":
        assert ran.document["champion"] in (None, whole["champion"])
    elif command.startswith("evaluate"):
        assert ran.document["cross_entropy"] == whole["cross_entropy"]


def aliases(versions: Any) -> dict[int, list[str]]:
    """Version -> its aliases."""
    return {version["version"]: version["aliases"] for version in versions}


def try_kind(
    warm: WarmCommands,
    stored: Path,
    folder: Path,
    *,
    kind: str,
    damage: Damage,
    commands: Sequence[str],
) -> list[str]:
    """Ask every command that reads such a file; return what was wrong with the answers."""
    chance = random.Random(f"{kind} {damage.__name__}")
    wrong = []
    for command in commands:
        root = copied(stored, folder / "project")
        path = chance.choice(sorted(root.glob(kind)))
        damage(path, chance)
        fate = Fate(unprivileged=damage in (read_only, unreadable))
        ran = warm.run(root, *command.split(), "--json", fate=fate)
        try:
            assert_honest(ran, command, answers(warm, stored, command) if reads(command) else None)
        except AssertionError as error:
            wrong.append(f"{path.relative_to(root)} {damage.__name__}: {str(error)[:600]}")
        for held in (path, path.parent):
            held.chmod(0o700)
        shutil.rmtree(root)
    return wrong


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_no_damage_of_weights_gives_other_scores(
    warm: WarmCommands, stored: Path, tmp_path: Path
) -> None:
    """Of a trial of today's code: an earlier release built the stored ones' network otherwise."""
    root = copied(stored, tmp_path / "today")
    one = ("search.epochs=1", "search.axes={seed: [7]}")
    tuned = warm.run(root, "tune", "--json", *overrides(*one), seconds=300)
    assert tuned.code == 0, tuned.err
    key = tuned.document["best"]["key"]
    kind, commands = f"mlruns/trials/{key}/epoch-0001.ckpt", (*TOLD, f"evaluate {key[:12]}")

    for damage in DAMAGES:
        assert try_kind(warm, root, tmp_path, kind=kind, damage=damage, commands=commands) == []


APPENDED = (
    "mlruns/ledger.jsonl",
    "mlruns/retrainings.jsonl",
    "mlruns/trials/*/history.jsonl",
    "mlruns/searches/*.jsonl",
    "mlruns/flow_runs/*/*.jsonl",
    "data/versions.jsonl",
    "data/raw/digits.dvc",
)
"""Files that a retraining reads and adds to."""
HALVED = (
    "trial.network={name: mlp, hidden_units: 8}",
    "search.epochs=2",
    "search.pruner=asha",
    "search.reduction_factor=2",
    "search.axes={seed: [7, 8]}",
)


@pytest.fixture(scope="session")
def halved(warm: WarmCommands, stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a retraining of today's code with a pruner, alone in its trial store."""
    root = copied(stored, tmp_path_factory.mktemp("halved") / "project")
    shutil.rmtree(root / "mlruns/trials")
    for journal in (root / "mlruns/searches").iterdir():
        journal.unlink()
    ran = warm.run(root, "run", "--force", *overrides(*HALVED), seconds=300)
    assert ran.code in (0, 3), ran.err
    return root


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "damage"),
    [*itertools.product(APPENDED, [flipped]), *itertools.product(APPENDED[-2:], [garbage])],
)
def test_a_retraining_over_damaged_files_says_so_or_goes_on(
    warm: WarmCommands, halved: Path, tmp_path: Path, kind: str, damage: Damage
) -> None:
    """Of each kind one file, three times: a message and a code of its own, never a traceback."""
    chance = random.Random(f"run {kind} {damage.__name__}")
    more = overrides(*HALVED, "search.epochs=3")
    for number in range(3):
        root = copied(halved, tmp_path / f"project-{number}")
        damage(chance.choice(sorted(root.glob(kind))), chance)
        assert_honest(warm.run(root, "run", "--force", *more, seconds=300), "run --force", None)


def reads(command: str) -> bool:
    """Whether its answer is compared with that of the whole project."""
    return command in ("versions", "status") or command.startswith("evaluate")


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("command", sorted({one for many in KINDS.values() for one in many}))
def test_each_command_works_where_nothing_is_damaged(
    warm: WarmCommands, stored: Path, tmp_path: Path, command: str
) -> None:
    """Else its refusal of a damaged file would prove nothing."""
    ran = warm.run(copied(stored, tmp_path / "project"), *command.split(), "--json")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("kind", SHORT)
def test_a_cut_file_is_told_or_passed_over(
    warm: WarmCommands, stored: Path, tmp_path: Path, kind: str
) -> None:
    """Each command that reads it answers as before, or says in a sentence why not."""
    commands = (*TOLD, *KINDS[kind])
    assert try_kind(warm, stored, tmp_path, kind=kind, damage=truncated, commands=commands) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_makes_a_command_lie_or_break(
    warm: WarmCommands, stored: Path, tmp_path: Path, kind: str
) -> None:
    """Cut, one bit turned, emptied, garbage, without rights to write or to read."""
    commands = (*TOLD, *KINDS[kind])
    wrong = [
        fault
        for damage in DAMAGES
        for fault in try_kind(warm, stored, tmp_path, kind=kind, damage=damage, commands=commands)
    ]
    assert wrong == []
