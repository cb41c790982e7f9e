"""From the selected trial to a version, and from the gate's verdict to a champion."""

from dataclasses import dataclass

import numpy as np

from flows.datasets.current import manifest_of
from flows.records.lineage import CodeFacts
from flows.records.trial_store import directory_of, read_trial
from flows.registry.promotion.commands import settle
from flows.registry.promotion.judge import judge
from flows.registry.records import Registration
from flows.registry.registering import register
from flows.retraining.evaluate import Evaluated
from flows.retraining.session import Workshop, dataset_facts
from models.config import Params
from models.config.policies import Verdict
from models.datasets.prepared import open_split
from models.evaluation.records import Evaluation
from models.training.checkpoint import load_serving

EXAMPLES = 4
"""Images in a version's input example; more than one, so that any number may be asked."""


def register_selected(evaluated: Evaluated, params: Params, workshop: Workshop) -> int:
    """Register the evaluated trial under the params' name; return the version."""
    _show(evaluated, workshop)
    registration = _registration(evaluated, params, run_id=workshop.mirror.wait_for_parent())
    return register(workshop.tracking, registration)


def _registration(evaluated: Evaluated, params: Params, *, run_id: str) -> Registration:
    result, prepared = evaluated.result, evaluated.dataset.prepared
    manifest = manifest_of(evaluated.dataset)
    directory = directory_of(result.key)
    test = open_split(prepared, "test", verify=False)
    validation = open_split(prepared, "validation", verify=False)
    return Registration(
        serving=load_serving(directory, result, manifest),
        spec=read_trial(directory).spec,
        result=result,
        evaluation=evaluated.evaluation,
        dataset=dataset_facts(evaluated.dataset),
        classes=manifest.classes,
        example=np.array(test.images[:EXAMPLES]),
        # Neither what was trained on nor what was selected on may be in a test split later.
        trained_ids=np.concatenate(
            [open_split(prepared, "train", verify=False).ids, validation.ids]
        ),
        validation_images=len(validation.ids),
        params=params,
        code=CodeFacts.read(),
        run_id=run_id,
        why=evaluated.why,
    )


def _show(evaluated: Evaluated, workshop: Workshop) -> None:
    workshop.mirror.log_metrics(_further_scores(evaluated.evaluation))
    workshop.mirror.log_artifacts(evaluated.directory, under="report")


def _further_scores(evaluation: Evaluation) -> dict[str, float]:
    """Test scores that registering does not show on the run by itself."""
    return {"test/f1_weighted": evaluation.f1_weighted, "test/ece": evaluation.ece}


@dataclass(frozen=True, slots=True)
class Promotion:
    """What the gate said, and who is champion now."""

    version: int
    verdict: Verdict
    reasons: tuple[str, ...]
    """In words."""
    champion: int | None
    awaits_approval: bool
    """The gate passed it, and a person must too."""


def promote_if_better(
    version: int, params: Params, workshop: Workshop, *, allowed: bool
) -> Promotion:
    """Ask the gate about a version on today's test split, and do what it says if that is allowed.

    Not allowed: the verdict is told, no alias moves, and the ledger has nothing to remember.
    """
    judgement = judge(workshop.tracking, version, params.gate)
    reasons = tuple(reason.text for reason in judgement.decision.reasons)
    champion, awaits = judgement.champion, False
    if allowed:
        moved = settle(workshop.tracking, judgement, params.gate)
        champion, awaits = moved.after, moved.action == "await"
        reasons = moved.reasons if moved.action == "none" else reasons
    return Promotion(
        version=version,
        verdict=judgement.decision.verdict,
        reasons=reasons,
        champion=champion,
        awaits_approval=awaits,
    )
