"""The experiment's page in MLflow: what it says first, and two views of its runs.

MLflow keeps a reader's columns in the browser; a view that all readers are offered is a tag of the
experiment, which the button "Views" lists and a link opens (mlflow 3.17.2, saved views).
"""

import json
from collections.abc import Mapping, Sequence

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from flows.tracking.events import now_ms

RETRAININGS, TRIALS = "retrainings", "trials"
"""Views: a row a retraining, newest first; a row a trial, best first."""
_VIEW = "mlflow.sharedViewState."
_NAME = "attributes.`Run Name`"
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
    """Link into MLflow's UI that opens a view, with the menus of training and not of agents."""
    query = f"viewStateShareKey={view}&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{query}"


def experiment_tags(name: str, experiment_id: str) -> dict[str, str]:
    """Tags that make the page of an experiment: its Markdown description and its views."""
    return {
        MLFLOW_RUN_NOTE: _description(name, experiment_id),
        f"{_VIEW}{RETRAININGS}": _view(
            "Retrainings",
            columns=(
                "metrics.`test/accuracy`",
                "metrics.`test/f1_macro`",
                "metrics.`test/cross_entropy`",
                "attributes.`Models`",
                "attributes.`Dataset`",
            ),
            widths={_NAME: 330},
        ),
        f"{_VIEW}{TRIALS}": _view(
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
            widths={_NAME: 330},
            facets={
                "searchFilter": "tags.trial.key != ''",
                "orderByKey": "metrics.`best/accuracy`",
            },
        ),
    }


def _view(
    title: str,
    *,
    columns: Sequence[str],
    widths: Mapping[str, int],
    facets: Mapping[str, str] | None = None,
) -> str:
    """Write a saved view as the UI writes it: an envelope around a state that is JSON itself."""
    state = {
        **_FACETS,
        **(facets or {}),
        "selectedColumns": list(columns),
        "columnOrder": [*widths, *columns],
        "columnWidths": {**dict.fromkeys(columns, 110), **widths},
    }
    now = now_ms()
    return json.dumps(
        {"name": title, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    )


def _description(name: str, experiment_id: str) -> str:
    # The page shows the first paragraph, and the rest on a click.
    return (
        f"**{name}**: [retrainings]({page_of(experiment_id)}), "
        f"[trials, best first]({page_of(experiment_id, TRIALS)}), "
        f"[versions and the champion](#/models/{name})\n\n"
        "A run is a retraining, named by its time, dataset and verdict; below it is a run for each "
        "trial, named by what differs. `train/` and `validation/` are measured after each epoch, "
        "which is their step; `best/` is validation at the epoch that was kept; `test/` is the "
        "selected trial on images that nothing was selected on.\n\n"
        f"The champion is served as `models:/{name}@champion`. What is shown here mirrors "
        "`mlruns/trials/`: `pitchpipe sync` rebuilds it."
    )
