"""Artifacts of a flow run in Prefect's UI: leaderboard, verdict, links."""

import contextlib
import logging
from collections.abc import Iterator

import httpx
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.states import Completed

from flows.records.retraining import LeaderboardEntry, Retraining
from flows.retraining.summary_markdown import Links, headline, retraining_note
from models.trials import Outcome, TrialFailure

_SERVED = "Served by `pitchpipe up`"
log = logging.getLogger(__name__)


@contextlib.contextmanager
def ignoring_artifact_errors() -> Iterator[None]:
    """Log Prefect's errors instead of raising them: no retraining fails over an artifact."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        log.warning("an artifact is missing in Prefect: %s", error)


def publish(result: Retraining, links: Links | None) -> None:
    """Attach a retraining's result to the current flow run; links: None without an MLflow run."""
    create_table_artifact(
        table=[_row(place, entry) for place, entry in enumerate(result.leaderboard, start=1)],
        key="leaderboard",
        description="Trials, best first by validation",
    )
    if links is None:
        return
    for key, text, link in (
        ("mlflow-run", "run in MLflow", links.to_run(links.run)),
        ("report", "report.html", links.to_artifact("report/report.html")),
    ):
        create_link_artifact(link=link, link_text=text, key=key, description=_SERVED)
    create_markdown_artifact(
        retraining_note(result, links), key="verdict", description=headline(result)
    )


def completed_state(result: Retraining) -> State[Retraining]:
    """Return the state of a completed flow run; Prefect's list of runs shows its message."""
    return Completed(message=headline(result), data=result)


def trial_markdown(outcome: Outcome) -> str:
    """Return a task run's description of its trial: config and scores, or the reason it failed."""
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
        "against the best": entry.from_best.words if entry.from_best else "",
        "epochs": entry.epochs,
        "cached": entry.cached,
        "key": entry.key[:12],
    }
