"""The experiment's page in MLflow: its description and three saved views of its runs.

MLflow keeps a reader's columns in the browser; a view for all readers is a tag of the experiment,
listed by the button "Views" and opened by a link (mlflow 3.17.2, saved views).
"""

import json
from collections.abc import Mapping, Sequence

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME

from flows.tracking.events import now_ms

RETRAININGS, TRIALS, REPORTS = "retrainings", "trials", "drift"
"""Views: retrainings, newest first; trials, best first; drift reports."""
MONITOR = "pitchpipe monitor"
"""Source of runs that are drift reports."""
LR_FIND = "pitchpipe lr-find"
"""Source of runs that are learning rate range tests."""
DATA_WORTH = "pitchpipe data worth"
"""Source of runs that say what more data would bring."""
REPORT = "drift.report"
"""Tag of such a run: the report's id."""
LEAD = "gate/accuracy_lead"
"""Metric of a retraining: accuracy of its version less the champion's, on the same test images."""
_VIEW = "mlflow.sharedViewState."
_NAME = "attributes.`Run Name`"
_WIDTHS = {
    _NAME: 300,
    "tags.`verdict`": 90,
    "tags.`champion`": 90,
    f"metrics.`{LEAD}`": 140,
}
"""Pixels, where they are not 110: what a verdict was is on the first screen."""
_FACETS = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
}


def page_of(experiment_id: str, view: str = RETRAININGS) -> str:
    """Link in MLflow's UI that opens a view, with the menus for training, not for agents."""
    query = f"viewStateShareKey={view}&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{query}"


def experiment_tags(name: str, experiment_id: str) -> dict[str, str]:
    """Tags that make the page of an experiment: its Markdown description and its views."""
    views = {RETRAININGS: _retrainings(), TRIALS: _trials(), REPORTS: _reports()}
    return {
        MLFLOW_RUN_NOTE: _description(name, experiment_id),
        **{f"{_VIEW}{key}": view for key, view in views.items()},
    }


def is_outdated(view: str, current: str) -> bool:
    """Whether a saved view is one of ours, as an earlier release wrote it.

    Somebody who saves over it in the UI gives it another time, and keeps it.
    """
    try:
        there, now = json.loads(view), json.loads(current)
        return bool(there["createdAt"] == there["updatedAt"] and there["state"] != now["state"])
    except (ValueError, KeyError, TypeError):
        return False


def _retrainings() -> str:
    return _view(
        "Retrainings",
        columns=(
            "tags.`verdict`",
            "tags.`champion`",
            f"metrics.`{LEAD}`",
            "metrics.`test/accuracy`",
            "attributes.`Models`",
            "attributes.`Dataset`",
            "tags.`trigger`",
            "metrics.`test/f1_macro`",
            "metrics.`test/cross_entropy`",
        ),
        # Not by a tag of retrainings: the runs of their trials must pass the filter, too.
        facets={
            "searchFilter": " and ".join(
                f"tags.`{MLFLOW_SOURCE_NAME}` != '{source}'"
                for source in (MONITOR, LR_FIND, DATA_WORTH)
            )
        },
    )


def _trials() -> str:
    return _view(
        "Trials, best first",
        columns=(
            "metrics.`best/accuracy`",
            "metrics.`best/cross_entropy`",
            "metrics.`best/epoch`",
            "metrics.`seconds`",
            "params.`network.name`",
            "params.`optimizer.learning_rate`",
            "params.`minibatch_size`",
        ),
        facets={
            "searchFilter": "tags.trial.key != ''",
            "orderByKey": "metrics.`best/accuracy`",
        },
    )


def _reports() -> str:
    return _view(
        "Drift reports",
        columns=(
            "tags.`drift.answer`",
            "tags.`drift.version`",
            "metrics.`drift/images`",
            "metrics.`drift/brightness_p`",
            "metrics.`drift/contrast_p`",
            "metrics.`drift/embedding_p`",
            "metrics.`drift/classes_p`",
            "metrics.`drift/confidence_p`",
        ),
        facets={"searchFilter": f"tags.`{REPORT}` != ''"},
    )


def _view(title: str, *, columns: Sequence[str], facets: Mapping[str, str]) -> str:
    """A saved view as the UI writes it: JSON around a state that is JSON itself."""
    state = {
        **_FACETS,
        **facets,
        "selectedColumns": list(columns),
        "columnOrder": [_NAME, *columns],
        "columnWidths": {**dict.fromkeys(columns, 110), **_WIDTHS},
    }
    now = now_ms()
    return json.dumps(
        {"name": title, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _description(name: str, experiment_id: str) -> str:
    # The page shows the first paragraph; the rest takes a click.
    return (
        f"**{name}**: [retrainings]({page_of(experiment_id)}), "
        f"[trials, best first]({page_of(experiment_id, TRIALS)}), "
        f"[drift reports]({page_of(experiment_id, REPORTS)}), "
        f"[versions and the champion](#/models/{name})\n\n"
        "A run is a retraining, named by its time, dataset and verdict; its child runs are trials, "
        "named by what differs and that time. "
        "`train/` and `validation/` are measured after each epoch, "
        "which is their step; `best/` is validation at the epoch that was kept; `test/` is the "
        "selected trial on images used for neither training nor selection.\n\n"
        f"The champion is served as `models:/{name}@champion`. This page mirrors "
        "`mlruns/`: `pitchpipe sync` rebuilds it."
    )
