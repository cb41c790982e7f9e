"""Tags and Markdown description of a version in MLflow."""

from flows.records.champion import WEIGHTS_TAG
from flows.records.lineage import Lineage
from flows.registry.records import Registration
from models.digests import digest_of
from models.evaluation.records import Evaluation


def tags_of(registration: Registration, *, model_digest: str) -> dict[str, str]:
    """Tags of a version: scores, and the digest of everything it was made from."""
    return {
        "registration": registration.digest,
        "model.digest": model_digest,
        **facts_of(registration, registration.evaluation),
    }


def facts_of(made: Registration | Lineage, evaluation: Evaluation) -> dict[str, str]:
    """Tags that say what a version was made from and how it scored."""
    result, code = made.result, made.code
    facts = made.dataset.model_dump(exclude_none=True)
    return {
        WEIGHTS_TAG: result.weights_digest,
        "trial.key": result.key,
        "trial.budget": str(result.budget),
        "trial.epoch": str(result.best_epoch),
        "config.digest": digest_of(made.params),
        "source.digest": made.spec.source,
        "git.commit": code.commit or "none",
        "git.dirty": "unknown" if code.dirty is None else str(code.dirty).lower(),
        **_parent_of(made),
        **{f"dataset.{name}": value for name, value in facts.items()},
        **{f"test.{name}": repr(value) for name, value in evaluation.scores},
    }


def _parent_of(made: Registration | Lineage) -> dict[str, str]:
    if made.parent is None:
        return {}
    return {"parent": made.parent.called, "parent.weights": made.parent.weights}


def describe(registration: Registration, *, experiment_id: str) -> str:
    """Markdown: why the trial won, scores with intervals, data, code, and links to the report."""
    result, dataset, code = registration.result, registration.dataset, registration.code
    commit = f"`{code.commit[:12]}`" if code.commit else "not in git"
    changed = ", with uncommitted changes" if code.dirty else ""
    dvc = f", DVC `{dataset.dvc_md5}`" if dataset.dvc_md5 else ""
    run = f"#/experiments/{experiment_id}/runs/{registration.run_id}"
    network, parent = registration.spec.config.network.name, registration.parent
    facts = {
        "Trial": f"`{result.key[:12]}`: {network}, epoch {result.best_epoch} of {result.epochs}"
        + (", on train and validation" if registration.spec.refit else ""),
        **({"Began with": f"{parent.called}, weights `{parent.weights[:12]}`"} if parent else {}),
        "Data": f"{dataset.name} `{dataset.digest[:12]}`{dvc}",
        "Trained or selected on": f"{len(registration.trained_ids):,} images",
        "Classes": ", ".join(registration.classes[:20]),
        "Code": f"{commit}{changed}",
        "Look at": f"[report.html]({run}/artifacts/report/report.html), [retraining]({run}), "
        f"[samples of the dataset]({run}/artifacts/dataset/samples.png)",
    }
    listed = [f"- **{name}** {fact}" for name, fact in facts.items()]
    return "\n".join([registration.why, "", _scores(registration), "", "From:", "", *listed])


def _scores(registration: Registration) -> str:
    evaluation = registration.evaluation
    names = {"accuracy": "accuracy", "f1_macro": "macro F1", "cross_entropy": "cross-entropy"}
    rows = []
    for field, shown in names.items():
        interval = evaluation.intervals.get(field)
        span = f" (95 %: {interval.low:.4f} to {interval.high:.4f})" if interval else ""
        scope = evaluation.f1_scope if field == "f1_macro" else ""
        without = f"; {scope}" if scope else ""
        rows.append(f"- {shown} **{getattr(evaluation, field):.4f}**{span}{without}")
    if (calibration := registration.calibration) is not None:
        before = f"{calibration.uncalibrated_ece:.4f} before logits were divided by"
        ece = f"- calibration error **{evaluation.ece:.4f}**"
        rows.append(f"{ece} ({before} {calibration.temperature:.3f})")
    if registration.params.evaluation.flips != "none":
        rows.append("- probabilities are means over each image and its mirror image")
    return "\n".join([f"On {evaluation.n:,} test images:", "", *rows])
