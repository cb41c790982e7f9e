"""Looks at test splits, as the ledger tells of them; light to import."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

from flows.records import ledger
from flows.records.ledger import Entry
from flows.records.promotion import read_decision
from models.config import Record
from models.config.policies import GateParams
from models.datasets.prepared import Manifest
from models.gate.budget import Look, level_of, looks_taken
from models.gate.records import Comparison

_JUDGED = frozenset({"promote", "hold", "reject", "await"})
_POWER = 0.8


class GateOutlook(Record):
    """What today's test split can show of the next challenger."""

    images: int
    """Of the test split."""
    look: int
    """Number of the next comparison on these images, from 1."""
    looks: int
    """How many there may be."""
    differing: float | None
    """Share of the images that exactly one had right at the last comparison; null: none yet, or the
    gate's metric is not accuracy."""
    detectable: float | None
    """True lead in accuracy that is shown with a power of 80 % if as many differ again; null: as
    before, or no look is left."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        asked = f"look {self.look:,} of {self.looks:,} at these {self.images:,} test images"
        if self.look > self.looks:
            return f"{asked}: none is left, only more test images let a challenger pass"
        if self.detectable is None or self.differing is None:
            return asked
        return (
            f"{asked}; a true lead of {100 * self.detectable:.2g} points is shown with a power of "
            f"80 % ({100 * self.differing:.2g} % of the images differed last time)"
        )


def past_looks(entries: Sequence[Entry]) -> list[Look]:
    """Return the comparisons that entries of one name rest on, oldest first."""
    return [look for look, _ in _comparisons(entries)]


def compared_pairs(entries: Sequence[Entry]) -> list[tuple[Look, Comparison]]:
    """Return the same with what each showed; of a pair compared twice on the same images one."""
    return list(
        {
            (look.test_digest, look.challenger, look.champion): (look, found)
            for look, found in _comparisons(entries)
        }.values()
    )


def gate_outlook(name: str, manifest: Manifest, gate: GateParams) -> GateOutlook | None:
    """Say what the prepared test split can show of the next challenger; None without champion."""
    found = ledger.read()
    if found.champion_of(name) is None:
        return None
    compared = list(_comparisons(found.of(name)))
    test = manifest.splits["test"]
    taken = looks_taken(
        [look for look, _ in compared], test_digest=test.arrays["ids"], images=test.images
    )
    by_accuracy = compared and gate.metric == "accuracy"
    differing = _differing(compared[-1][1]) if by_accuracy else None
    return GateOutlook(
        images=test.images,
        look=taken + 1,
        looks=gate.looks,
        differing=differing,
        detectable=_detectable(differing, level_of(taken + 1, gate), test.images),
    )


def _comparisons(entries: Sequence[Entry]) -> Iterator[tuple[Look, Comparison]]:
    """Looks with what they showed; a decision whose evidence cannot be read is none."""
    for entry in entries:
        if entry.action not in _JUDGED or entry.evidence is None or entry.after is None:
            continue
        decision = read_decision(entry.evidence)
        if decision is None or decision.comparison is None:
            continue
        look = Look(
            test_digest=decision.test_digest,
            images=decision.comparison.images,
            challenger=entry.after,
            champion=entry.before,
            labels=decision.labels_digest,
        )
        yield look, decision.comparison


def _differing(comparison: Comparison) -> float:
    return (comparison.challenger_only + comparison.champion_only) / comparison.images


def _detectable(differing: float | None, level: float, images: int) -> float | None:
    """As models.gate.paired.detectable_lead, without scipy."""
    if differing is None or level == 0 or images == 0:
        return None
    normal = NormalDist()
    reach = normal.inv_cdf(1 - level) + normal.inv_cdf(_POWER)
    return float(min(reach * (max(differing, 0.5 / images) / images) ** 0.5, 1.0))
