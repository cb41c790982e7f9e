"""Answer what more data would bring: plan, train what is missing, fit, keep and show."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flows.datasets.current import manifest_of, prepare_dataset, prepared_is_current
from flows.datasets.files import PREPARED
from flows.records.data_value import known_value
from flows.records.retraining import Request
from flows.records.trial_store import directory_of
from flows.search.predictions import validation_predictions
from flows.tracking.store import Tracking
from flows.versions.data_value.planning import (
    Cost,
    Group,
    Plan,
    Question,
    cost_of,
    make_plan,
    results_of,
)
from flows.versions.data_value.subject import find_subject
from flows.versions.data_value.training import train_missing
from models.datasets.prepared import Manifest, open_split, read_manifest
from models.digests import digest_of
from models.errors import InputError, PitchpipeError
from models.evaluation.data_value.capacity import SizedTrials, capacity_curve
from models.evaluation.data_value.class_values import value_alone, values_in_proportion
from models.evaluation.data_value.fitting import FEWEST_TRIALS, Trials, fit_power_law, hold_out
from models.evaluation.data_value.records import CapacityCurve, ClassValue, DataValue, SizePoint
from models.evaluation.outcomes import Predictions
from models.trials import Outcome, TrialFailure, TrialResult

log = logging.getLogger(__name__)

MOST_TRAIN_IMAGES = 5000
"""Train images that the capacity curve scores, the first by their digests: a random sample."""


def plan_value(
    tracking: Tracking,
    target: str | None,
    question: Question,
    *,
    request: Request,
    dry: bool,
) -> tuple[Plan, Cost]:
    """Lay out the trials that answer a question, with what they cost; nothing is trained.

    dry: nothing is prepared either; raises InputError where the data is not. Raises as
    `find_subject` and `make_plan` do.
    """
    params = request.params()
    subject = find_subject(tracking, target, params)
    if not dry:
        manifest = manifest_of(prepare_dataset(params.data))
    elif prepared_is_current(params.data):
        manifest = read_manifest(PREPARED)
    else:
        raise InputError("the data is not prepared for these params: `pitchpipe prepare` does it")
    train = open_split(PREPARED, "train", verify=False)
    plan = make_plan(question, subject, manifest, train, request)
    return plan, cost_of(plan, request)


def answer_value(plan: Plan, request: Request) -> DataValue:
    """Train what is missing, and answer; the test split is not read.

    Raises PitchpipeError where fewer than two trials of a size succeed.
    """
    outcomes = train_missing(plan, request)
    for key, outcome in outcomes.items():
        if isinstance(outcome, TrialFailure):
            log.warning("%s failed: %s", plan.labels[key], outcome.reason)
    known = [_Scored.of(group, outcomes) for group in plan.groups]
    return _answer(plan, known, request.params().registered_name)


class _Scored:
    """A group's trials with what they predict."""

    def __init__(
        self,
        group: Group,
        results: Sequence[TrialResult],
        predictions: Sequence[Predictions],
    ) -> None:
        self.group, self.results, self.labels = group, results, predictions[0].labels
        wrong: NDArray[np.bool_] = np.stack([~one.right for one in predictions])
        self.trials = Trials(group.images, wrong)

    @classmethod
    def of(cls, group: Group, outcomes: Mapping[str, Outcome]) -> "_Scored":
        """Predict validation by all of the group's trials that succeeded."""
        results = results_of(group, outcomes)
        found = validation_predictions(results, PREPARED)
        if len(found) < FEWEST_TRIALS:
            raise PitchpipeError(
                f"{group.name}: {len(found)} of {len(group.specs)} trials have weights, at least "
                f"{FEWEST_TRIALS} are needed; `pitchpipe trials show` says why others failed"
            )
        kept = [one for one in results if one.key in found]
        return cls(group, kept, [found[one.key] for one in kept])

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its trials."""
        return tuple(one.key for one in self.results)

    @property
    def point(self) -> SizePoint:
        """As it is stored."""
        return SizePoint(
            fraction=self.group.fraction,
            images=self.group.images,
            errors=tuple(map(float, self.trials.wrong.mean(axis=1))),
            keys=self.keys,
        )


def _answer(plan: Plan, scored: Sequence[_Scored], name: str) -> DataValue:
    curve = [one for one in scored if one.group.only is None and one.group.factor == 1]
    sizes, labels = [one.trials for one in curve], curve[0].labels
    train = plan.manifest.splits["train"].images
    more = plan.question.more or train
    law, identity = fit_power_law(sizes), _identity(plan)
    known = known_value(name, identity)
    in_proportion = values_in_proportion(sizes, labels, plan.manifest, more=more)
    return DataValue(
        id=identity,
        at=known.at if known else datetime.now(UTC),
        name=name,
        dataset=plan.manifest.name,
        dataset_digest=plan.manifest.digest,
        subject=plan.subject.called,
        config=plan.subject.config,
        epochs=plan.subject.epochs,
        train_images=train,
        all_images=sum(one.images for one in plan.manifest.splits.values()),
        validation_images=len(labels),
        points=tuple(one.point for one in curve),
        curve=law,
        more=more,
        gain=law.gain(train, train + more),
        classes=(*_classes_alone(plan, scored, curve[-1]), *in_proportion),
        check=hold_out(sizes),
        capacity=_capacity(plan, scored, curve[-1]) if plan.question.capacity else None,
    )


def _identity(plan: Plan) -> str:
    question = plan.question
    return digest_of(
        {
            "trials": list[JsonValue](sorted(plan.specs)),
            "epochs": plan.subject.epochs,
            "fractions": list(question.fractions),
            "classes": list(question.classes),
            "capacity": question.capacity,
            "more": question.more,
        }
    )


def _classes_alone(plan: Plan, scored: Sequence[_Scored], whole: _Scored) -> Iterator[ClassValue]:
    counts = plan.manifest.splits["train"].class_counts
    for name in plan.question.classes:
        label = plan.manifest.classes.index(name)
        sizes = [one.trials for one in scored if one.group.only == label]
        sizes.append(Trials(float(counts[label]), whole.trials.wrong))
        yield value_alone(name, sizes, whole.labels, label, more=plan.question.more)


def _capacity(plan: Plan, scored: Sequence[_Scored], whole: _Scored) -> CapacityCurve:
    networks = sorted(
        (one for one in scored if one.group.factor != 1 or one is whole),
        key=lambda one: one.group.factor,
    )
    return capacity_curve([_sized(one, plan.manifest) for one in networks])


def _sized(scored: _Scored, manifest: Manifest) -> SizedTrials:
    """Score a width's trials on train images, by the weights that were kept."""
    from models.evaluation.inference import predict_probabilities  # noqa: PLC0415 - torch: 2 s
    from models.evaluation.network_costs import network_cost  # noqa: PLC0415 - torch as well
    from models.training.checkpoint import load_serving  # noqa: PLC0415 - torch as well

    train = open_split(PREPARED, "train", verify=False)
    images, labels = train.images[:MOST_TRAIN_IMAGES], train.labels[:MOST_TRAIN_IMAGES]
    wrong = []
    for result in scored.results:
        serving = load_serving(directory_of(result.key), result, manifest)
        found = predict_probabilities(serving, images, threads=result.config.threads)
        wrong.append(found.argmax(axis=1) != labels)
    config = scored.group.specs[0].config.network
    cost = network_cost(
        config,
        channels=manifest.channels,
        image_size=manifest.image_size,
        classes=len(manifest.classes),
    )
    return SizedTrials(
        factor=scored.group.factor,
        parameters=cost.parameters,
        train_wrong=np.stack(wrong),
        wrong=scored.trials.wrong,
        keys=scored.keys,
    )
