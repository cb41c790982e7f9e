"""Which trials answer what more data would bring, which are there, and how long it takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from flows.engines.opening import device_of, workers_for
from flows.records.pace import estimate_pace
from flows.records.retraining import Request
from flows.records.trial_store import cached, directory_of
from flows.search.search import Search
from flows.versions.data_value.subject import Subject
from models.config import Record, TrialConfig
from models.datasets.prepared import Manifest, Split
from models.errors import ConfigError, InputError
from models.evaluation.data_value.capacity import scaled_network
from models.search.proposals import Proposal
from models.training.subset import chosen
from models.trials import Outcome, Subset, TrialResult, TrialSpec, read_history

FRACTIONS = (0.125, 0.25, 0.5)
"""Of the train split, beside the whole."""
WIDTHS = (0.25, 0.5, 2.0)
"""Of the network, beside its own."""
_FEWEST_IMAGES = 2
"""Of a subset, in all and of a class that it is of."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    fractions: tuple[float, ...] = FRACTIONS
    """Ascending, each below 1."""
    trials: int = 3
    """Of each size, each with a seed and a draw of images of its own."""
    classes: tuple[str, ...] = ()
    """Classes whose images alone are added, too."""
    capacity: bool = False
    more: int | None = None
    """Images that the gains are for; None: as many again."""


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that differ in seed and draw alone."""

    name: str
    """Such as `25 % of train`."""
    fraction: float
    only: int | None
    """Class of which the fraction is; None: of all."""
    factor: float
    """Of the network's width."""
    specs: tuple[TrialSpec, ...]
    images: float
    """Mean of their train images: of the class, where the fraction is of one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Trials that answer a question, those of each group beside one another."""

    question: Question
    subject: Subject
    manifest: Manifest
    groups: tuple[Group, ...]
    outcomes: Mapping[str, Outcome | None]
    """Key -> outcome in the store; None: it is to be trained. Trials of two groups are one."""
    specs: Mapping[str, TrialSpec]
    labels: Mapping[str, str]


class Cost(Record):
    """What answering takes, before anything is trained."""

    subject: str
    epochs: int
    """Of each trial."""
    sizes: tuple[str, ...]
    total: int
    """Trials."""
    cached: int
    minutes: float
    """Estimated; those of trials begun before are taken off."""
    workers: int
    basis: str
    """What the estimate is based on."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        missing = self.total - self.cached
        return (
            f"{self.total} trials of {self.subject}, {self.epochs} epochs each "
            f"({', '.join(self.sizes)}): {self.cached} cached, {missing} to train, "
            f"about {self.minutes:.1f} minutes with {self.workers} at a time ({self.basis})"
        )


def make_plan(
    question: Question,
    subject: Subject,
    manifest: Manifest,
    train: Split,
    request: Request,
) -> Plan:
    """Lay out the trials, and look up which are in the store.

    Raises ConfigError for a class that is not there, a network without widths and more images than
    there are, InputError where a fraction holds too few images.
    """
    _check_more(question, manifest)
    params = request.params().model_copy(update={"trial": subject.config})
    search = Search(params, manifest, device_of(request))
    layout = _layout(question, subject.config, manifest)
    groups = tuple(_group(one, question.trials, search, train) for one in layout)
    specs = {spec.key: spec for group in groups for spec in group.specs}
    labels = {
        spec.key: f"{group.name}, seed {spec.config.seed}"
        for group in reversed(groups)
        for spec in group.specs
    }
    epochs, limit = subject.epochs, params.search.trial_timeout_minutes
    outcomes = {
        key: cached(spec, budget=epochs, limit_minutes=limit) for key, spec in specs.items()
    }
    return Plan(question, subject, manifest, groups, outcomes, specs, labels)


def _check_more(question: Question, manifest: Manifest) -> None:
    """Refuse to extend a curve beyond as many images again as there are."""
    train = manifest.splits["train"]
    counts = dict(zip(manifest.classes, train.class_counts, strict=True))
    most = min([train.images, *(counts.get(name, train.images) for name in question.classes)])
    if question.more is not None and question.more > most:
        raise ConfigError(
            f"--more {question.more}: at most {most:,}, as many again as train has"
            f"{' of the class' if question.classes else ''}: no curve says what lies beyond"
        )


def _group(laid: "_Laid", trials: int, search: Search, train: Split) -> Group:
    specs = []
    for number in range(trials):
        config = _seeded(laid.config, number)
        subset = _subset(laid.fraction, number, laid.only)
        spec = search.trial(Proposal(config, {})).spec
        specs.append(spec.model_copy(update={"subset": subset}))
    return Group(
        name=laid.name,
        fraction=laid.fraction,
        only=laid.only,
        factor=laid.factor,
        specs=tuple(specs),
        images=_images(train, laid, trials),
    )


def cost_of(plan: Plan, request: Request) -> Cost:
    """Estimate what answering takes; a wider network is taken to need as much more a weight."""
    workers = workers_for(request.params(), request, device_of(request))
    pace = estimate_pace(plan.manifest, plan.subject.config.network)
    factors = {spec.key: group.factor for group in plan.groups for spec in group.specs}
    missing = [key for key, outcome in plan.outcomes.items() if outcome is None]
    epochs = sum(
        (plan.subject.epochs - min(len(read_history(directory_of(key))), plan.subject.epochs))
        * max(factors[key], 1.0) ** 2
        for key in missing
    )
    return Cost(
        subject=plan.subject.called,
        epochs=plan.subject.epochs,
        sizes=tuple(f"{group.name}: {len(group.specs)}" for group in plan.groups),
        total=len(plan.outcomes),
        cached=len(plan.outcomes) - len(missing),
        minutes=round(pace.seconds_per_epoch * epochs / workers / 60, 2),
        workers=workers,
        basis=pace.basis,
    )


@dataclass(frozen=True, slots=True)
class _Laid:
    """A group before its trials are named."""

    name: str
    config: TrialConfig
    fraction: float = 1.0
    only: int | None = None
    factor: float = 1.0


def _layout(question: Question, config: TrialConfig, manifest: Manifest) -> Iterator[_Laid]:
    for fraction in (*question.fractions, 1.0):
        yield _Laid(f"{100 * fraction:g} % of train", config, fraction)
    for name in question.classes:
        if name not in manifest.classes:
            known = ", ".join(manifest.classes[:20])
            raise ConfigError(f"--class {name}: no class of {manifest.name}; there are {known}")
        only = manifest.classes.index(name)
        for fraction in question.fractions:
            yield _Laid(f"{100 * fraction:g} % of {name} alone", config, fraction, only)
    for factor in WIDTHS if question.capacity else ():
        scaled = scaled_network(config, factor)
        yield _Laid(f"{factor:g} of the width", scaled, factor=factor)


def _seeded(config: TrialConfig, number: int) -> TrialConfig:
    """Other seeds than its own, which selected it on the very images that it is scored on."""
    return config.model_copy(update={"seed": (config.seed + 1 + number) % 2**31})


def _subset(fraction: float, draw: int, only: int | None) -> Subset | None:
    return Subset(fraction=fraction, draw=draw, only=only) if fraction < 1 else None


def _images(train: Split, laid: _Laid, trials: int) -> float:
    """Mean images of a group's subsets; raises InputError where one holds too few."""
    counted = np.ones(len(train.labels), bool) if laid.only is None else train.labels == laid.only
    subsets = (_subset(laid.fraction, draw, laid.only) for draw in range(trials))
    found = [
        int(np.count_nonzero(chosen(train, subset) & counted)) if subset else int(counted.sum())
        for subset in subsets
    ]
    if min(found) < _FEWEST_IMAGES:
        raise InputError(f"{laid.name}: is {min(found)} images; choose larger --fractions")
    return float(np.mean(found))


def results_of(group: Group, outcomes: Mapping[str, Outcome]) -> list[TrialResult]:
    """Trials of a group that succeeded."""
    found = (outcomes.get(spec.key) for spec in group.specs)
    return [one for one in found if isinstance(one, TrialResult)]
