"""Swapping the two, or gain and loss, anywhere in the gate's code changes a known decision."""

import ast
import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import eq
from pathlib import Path

import numpy as np
import pytest
from evaluation_fixtures import guesses, naming
from gate_fixtures import QUICK, grown, one_class_loses, pair, version

from models.gate import class_guard, comparison, guards, verdict
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.records import GateDecision

GATE = QUICK.model_copy(update={"latency_ms": 5.0})
SWAPPED = {
    "challenger": "champion",
    "champion": "challenger",
    "challenger_only": "champion_only",
    "champion_only": "challenger_only",
    "gained": "lost",
    "lost": "gained",
}
EQUIVALENT = {
    # Labels and classes were found to be the same before these lines are reached.
    "pair = pair_of(outcomes, _outcomes(champion), names=[challenger].classes)",
    "if not np.isin([challenger].labels, _known(champion)).any():",
    "keys = (excess, champion.predicted, challenger.predicted, [challenger].labels)",
    "labels=[challenger].labels[order],",
    # So were the test images.
    'facts = {"test_digest": [challenger].test_digest, "look": looks + 1}',
    # It narrows a type, nothing else.
    "assert isinstance([champion], GateInput)",
}


@functools.cache
def cases() -> list[tuple[GateInput, GateInput | ChampionUnusable | None]]:
    """Pairs that between them reach each rule from both sides."""
    better = pair(both=900, challenger_only=60, champion_only=20, neither=20)
    better = replace(better[0], latency_ms=1.0), replace(better[1], latency_ms=2.0)
    first = replace(version(*guesses(600, 3, strength=3.0, seed=0)), latency_ms=3.0)
    second = replace(first, probabilities=guesses(600, 3, strength=2.4, seed=1)[0])
    other = replace(better[1], classes=("a", "b"), test_digest="cd" * 32)
    relabelled = replace(better[1], labels=1 - better[1].labels)
    few = [replace(one, latency_ms=1.0) for one in one_class_loses(36, 10)]
    some = [replace(one, latency_ms=1.0) for one in one_class_loses(36, 4)]
    narrow = replace(better[1], probabilities=naming(better[1].labels, classes=3))
    return [
        better,
        better[::-1],
        (first, second),
        (few[0], few[1]),
        (some[0], some[1]),
        (better[0], None),
        (better[0], ChampionUnusable("it is gone")),
        (better[0], other),
        (better[0], replace(other, classes=better[0].classes)),
        (better[0], replace(better[1], test_digest="cd" * 32)),
        (better[0], relabelled),
        (better[0], narrow),
        (replace(better[0], trained_on_test=3), better[1]),
        (better[0], replace(better[1], trained_on_test=3, weights_megabytes=900.0)),
        (better[0], replace(better[1], probabilities=np.full((1000, 2), np.nan))),
    ]


def answers(decide: Callable[..., GateDecision]) -> Iterator[str]:
    """Each decision as JSON, or the error it ended in."""
    by_f1 = GATE.model_copy(update={"metric": "f1_macro"})
    lenient = GATE.model_copy(update={"cross_entropy_margin": 1.0})
    newer, older = (replace(one, latency_ms=1.0) for one in grown())
    strange = replace(older, unknown=older.classes)
    asked = [(*both, GATE) for both in cases()]
    asked += [(*cases()[0], by_f1), (newer, older, lenient), (newer, strange, lenient)]
    for challenger, champion, gate in asked:
        try:
            yield decide(challenger, champion, gate).model_dump_json()
        except Exception as error:  # noqa: BLE001 - a mutant may fail in any way
            yield repr(error)


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the module with one occurrence swapped, and its line with the occurrence marked."""
    occurrences = sum(1 for node in ast.walk(ast.parse(source)) if _name(node) in SWAPPED)
    for number in range(occurrences):
        tree = ast.parse(source)
        nodes = [node for node in ast.walk(tree) if _name(node) in SWAPPED]
        node = nodes[number]
        _rename(node, SWAPPED[_name(node)])
        yield _marked(source, node), tree


def _marked(source: str, node: ast.AST) -> str:
    assert isinstance(node, ast.Name | ast.Attribute)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    line, end = source.splitlines()[node.end_lineno - 1], node.end_col_offset
    start = end - len(SWAPPED[_name(node)])  # the name before the swap
    return f"{line[:start]}[{line[start:end]}]{line[end:]}".strip()


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _rename(node: ast.AST, name: str) -> None:
    if isinstance(node, ast.Name):
        node.id = name
    elif isinstance(node, ast.Attribute):
        node.attr = name


def run(module: types.ModuleType, tree: ast.Module) -> types.ModuleType:
    """Execute the changed source under the module's own name, beside the real one."""
    changed = types.ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(tree, module.__name__, "exec"), changed.__dict__)
    return changed


PATCHED = {
    comparison: (verdict, ("pair_of", "compare")),
    class_guard: (guards, ("check_classes_not_worse", "check_classes_kept")),
}
"""Module -> who calls it, and which functions; `verdict` itself is asked directly."""


@pytest.mark.parametrize("module", [verdict, *PATCHED], ids=lambda module: str(module.__name__))
def test_every_swap_of_champion_and_challenger_is_noticed(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mention of one is replaced by the other, one at a time; a known decision must change."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    expected, survived, tried = list(answers(verdict.decide)), [], 0
    for line, tree in mutants(source):
        tried += 1
        changed = run(module, tree)
        with monkeypatch.context() as patch:
            caller, functions = PATCHED.get(module, (None, ()))
            for function in functions:
                patch.setattr(caller, function, getattr(changed, function))
            mutant = verdict if functions else changed
            if all(map(eq, answers(mutant.decide), expected)):
                survived.append(line)
    assert tried > 14
    assert set(survived) <= EQUIVALENT
