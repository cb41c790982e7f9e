"""What a flow run shows in Prefect's UI beside its tasks: the leaderboard, the verdict, links."""

import contextlib
import logging
from collections.abc import Iterator

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.exceptions import PrefectException

from flows.prefect_api import running_services
from flows.requests import LeaderboardEntry, Retraining
from models.trials import Outcome, TrialFailure

log = logging.getLogger(__name__)

MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `pitchpipe up` serves MLflow unless the port is taken."""


@contextlib.contextmanager
def decorating() -> Iterator[None]:
    """While inside, what Prefect cannot show is logged: no verdict is lost for a picture."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        log.warning("Prefect does not show an artifact: %s", error)


def publish(result: Retraining, *, experiment_id: str) -> None:
    """Attach the retraining's outcome to the flow run at hand."""
    create_table_artifact(
        table=[_row(place, entry) for place, entry in enumerate(result.leaderboard, start=1)],
        key="leaderboard",
        description="Trials, best first by validation",
    )
    if result.mlflow_run:
        services = running_services()
        base = services.mlflow if services else MLFLOW_UI
        create_link_artifact(
            link=f"{base}/#/experiments/{experiment_id}/runs/{result.mlflow_run}",
            link_text="MLflow run",
            key="mlflow-run",
            description="Served by `pitchpipe up`",
        )
    if result.verdict:
        create_markdown_artifact(_verdict(result), key="verdict", description="The gate's verdict")


def trial_markdown(outcome: Outcome) -> str:
    """Show a trial on its task run's page: config and score, or the reason it failed."""
    config = "\n".join(f"- {name}: `{value}`" for name, value in outcome.config)
    if isinstance(outcome, TrialFailure):
        return f"**failed**: {outcome.reason}\n\n{config}"
    scores = "\n".join(f"| {name} | {value:.4f} |" for name, value in outcome.scores)
    return (
        f"| validation | |\n|---|---|\n{scores}\n\n"
        f"{outcome.epochs} epochs, best {outcome.best_epoch}; trial `{outcome.key[:12]}`\n\n"
        f"{config}"
    )


def _row(place: int, entry: LeaderboardEntry) -> dict[str, object]:
    return {
        "place": place,
        **entry.differences,
        **{name: round(value, 4) for name, value in entry.scores},
        "epochs": entry.epochs,
        "cached": entry.cached,
        "key": entry.key[:12],
    }


def _verdict(result: Retraining) -> str:
    reasons = "\n".join(f"- {reason}" for reason in result.reasons)
    return (
        f"## {result.verdict}: {result.registered_name} version {result.version}\n\n{reasons}\n\n"
        f"The champion is version {result.champion}."
    )
