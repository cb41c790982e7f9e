"""Register the selected trial as a version, and promote it if the gate finds it better."""

import numpy as np

from flows.records.lineage import CodeFacts
from flows.records.promotion import Promotion
from flows.records.trial_store import read_trial
from flows.registry.promotion.attributions import with_maps
from flows.registry.promotion.commands import settle
from flows.registry.promotion.judge import Weighed, weigh
from flows.registry.records import Registration
from flows.registry.registering import register
from flows.registry.starting import Start
from flows.retraining.evaluate import Evaluated, trained_trial
from flows.retraining.session import Session, dataset_facts
from models.config import Params
from models.datasets.by_id import among, prints_of
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import open_split
from models.datasets.sources.origins import read_origins
from models.datasets.splits import Ids
from models.evaluation.records import Evaluation
from models.evaluation.report.page import WHY, link_why
from models.evaluation.report.why import WhyInput, write_why
from models.evaluation.slices.membership import slices_by_facts

EXAMPLES = 4
"""Images in a version's input example; one would fix the exported batch size to one."""


def register_selected(evaluated: Evaluated, params: Params, session: Session) -> int:
    """Register the evaluated trial under the params' name; return the version."""
    session.mirror.log_metrics(_further_scores(evaluated.evaluation))
    session.mirror.log_artifacts(evaluated.directory, under="report")
    began = evaluated.result.config.begins_with is not None
    registration = _registration(
        evaluated,
        params,
        run_id=session.mirror.wait_for_parent(),
        start=session.start if began else None,
    )
    return register(session.tracking, registration)


def _registration(
    evaluated: Evaluated, params: Params, *, run_id: str, start: Start | None
) -> Registration:
    trial = trained_trial(evaluated.result, evaluated.dataset)
    prepared, manifest = trial.prepared, trial.manifest
    # No image trained or selected on may be in a later test split.
    train, validation, test = (open_split(prepared, name, verify=False) for name in SPLITS)
    own_ids = np.concatenate([train.ids, validation.ids])
    own_prints = np.concatenate([prints_of(one.images) for one in (train, validation)])
    return Registration(
        serving=trial.serving(evaluated.calibration, flips=params.evaluation.flips),
        spec=read_trial(trial.directory).spec,
        result=trial.result,
        evaluation=evaluated.evaluation,
        dataset=dataset_facts(evaluated.dataset),
        classes=manifest.classes,
        example=np.array(test.images[:EXAMPLES]),
        trained_ids=_seen(start.trained_ids if start else None, own_ids),
        trained_prints=_seen(start.prints_in(manifest.form) if start else None, own_prints),
        validation_images=len(validation.ids),
        params=params,
        code=CodeFacts.read(),
        run_id=run_id,
        why=evaluated.why,
        calibration=evaluated.calibration,
        parent=start.parent if start else None,
        slices=evaluated.slices.report if evaluated.slices else None,
    )


def _seen(parents: Ids | None, own: Ids) -> Ids:
    """Return ids or prints of images: first those that only the parent saw."""
    if parents is None:
        return own
    return np.concatenate([parents[~among(parents, own)], own])


def _further_scores(evaluation: Evaluation) -> dict[str, float]:
    """Test scores beside those that `register` logs."""
    further = {"f1_weighted": evaluation.f1_weighted, "ece": evaluation.ece, **evaluation.later}
    return {f"test/{name}": value for name, value in further.items()}


def promote_if_better(
    version: int, evaluated: Evaluated, session: Session, *, allowed: bool
) -> Promotion:
    """Ask the gate about a version on today's test split, and carry out its decision if allowed.

    Not allowed: no alias moves, and nothing is written into the ledger. Where it was compared with
    another version, the why page is written beside its report.
    """
    gate = session.params.gate
    weighed = weigh(session.tracking, version, gate)
    _show_why(weighed, evaluated, session)
    judgement = weighed.judgement
    move = settle(session.tracking, judgement, gate) if allowed else None
    return Promotion(judgement=judgement, move=move)


def _show_why(weighed: Weighed, evaluated: Evaluated, session: Session) -> None:
    """Write which images were fixed and broken, after the look at them that the gate counted."""
    judged, champion = weighed.judgement, weighed.rival
    if judged.decision.comparison is None or champion is None:
        return
    assert judged.champion is not None
    name, prepared = session.tracking.name, evaluated.dataset.prepared
    images = open_split(prepared, "test", verify=False).images
    why = WhyInput(
        title=f"{name}: version {judged.version} against version {judged.champion}",
        challenger=weighed.challenger,
        champion=champion,
        images=images,
        names=(f"version {judged.version}", f"version {judged.champion}"),
        decision=judged.decision,
        slices=slices_by_facts(images, read_origins(prepared)),
    )
    why = with_maps(session.tracking, why, (judged.version, judged.champion))
    write_why(evaluated.directory / WHY, why)
    link_why(evaluated.directory / "report.html")
    session.mirror.log_artifacts(evaluated.directory, under="report")
