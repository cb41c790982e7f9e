"""Summary of a retraining in Markdown, for MLflow and Prefect: verdict, reasons, links."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flows.records.retraining import LeaderboardEntry, Retraining
from flows.search.progress import format_scores
from models.credentials import without_credentials
from models.errors import PitchpipeError
from models.search.proposals import label_of

_TRIALS = 5
"""Number of trials that the summary lists, best first."""


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of the pages of one retraining."""

    experiment_id: str
    run: str
    """Id of the parent run."""
    base: str = ""
    """Address of the MLflow UI; empty for links within it."""
    trials: Mapping[str, str] = field(default_factory=dict)
    """Key -> id of the trial's run, for trials that MLflow has."""
    flow_run: str | None = None
    """Address of the flow run in Prefect's UI."""

    def to_run(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.base}/#/experiments/{self.experiment_id}/runs/{run_id}".removeprefix("/")

    def to_artifact(self, path: str) -> str:
        """Return the address of the page that shows a file of the parent run."""
        return f"{self.to_run(self.run)}/artifacts/{path}"

    def to_version(self, name: str, version: int) -> str:
        """Return the address of a version's page."""
        return f"{self.base}/#/models/{name}/versions/{version}".removeprefix("/")


def retraining_note(result: Retraining, links: Links) -> str:
    """Return the summary of a retraining: result, links, trials, reasons.

    Trials are a list: MLflow's pages draw the columns of a table without space between.
    """
    reasons = "\n".join(f"- {reason}" for reason in result.reasons)
    # MLflow shows the first lines, the rest on a click, and fades out the third line, where links
    # cannot be clicked. So the first paragraph has all links.
    first = f"{_outcome(result, links)} {_pages(result, links)}."
    parts = [first, _scores(result), _trials(result, links), reasons]
    began = f"Began because: {result.decision.reason}."
    return "\n\n".join(part for part in [*parts, began] if part)


def failure_note(error: BaseException) -> str:
    """Return the summary of a retraining that failed or was interrupted."""
    if isinstance(error, PitchpipeError):
        return f"**Failed**: {error}"
    if isinstance(error, Exception):
        message = without_credentials(str(error))
        return f"**Failed**, {type(error).__name__}: {message}"
    return "**Interrupted**; what was trained is kept, and the next retraining goes on from it."


def local_minute() -> str:
    """Return date and time, to the minute, in the local zone, as both UIs show times."""
    return f"{datetime.now(UTC).astimezone():%Y-%m-%d %H:%M}"


def headline(result: Retraining) -> str:
    """Return the result of a retraining in one line: `PROMOTE: version 3, champion 3`."""
    if not result.decision.retrain:
        return f"nothing to do: {result.decision.reason}"
    if result.verdict is None:
        return f"searched {result.trials.total} trials"
    awaited = ", approval awaited" if result.awaits_approval else ""
    return f"{result.verdict}: version {result.version}, champion {result.champion}{awaited}"


def _outcome(result: Retraining, links: Links) -> str:
    if result.verdict is None or result.version is None or result.registered_name is None:
        return "**Search only**: nothing was registered."
    name = result.registered_name
    version = f"[version {result.version}]({links.to_version(name, result.version)})"
    return f"**{result.verdict}**: {version} of {name}{_champion(result, links, name)}."


def _scores(result: Retraining) -> str:
    return f"Test: {format_scores(result.test)}." if result.test is not None else ""


def _champion(result: Retraining, links: Links, name: str) -> str:
    if result.awaits_approval:
        return f"; `pitchpipe approve {result.version}` is awaited"
    if result.champion == result.version:
        return ", the champion now"
    if result.champion is None:
        return "; there is no champion"
    return (
        f"; the champion is [version {result.champion}]({links.to_version(name, result.champion)})"
    )


def _pages(result: Retraining, links: Links) -> str:
    pages = {}
    if result.verdict is not None:
        pages["report"] = links.to_artifact("report/report.html")
    pages["samples of the dataset"] = links.to_artifact("dataset/samples.png")
    if links.base:
        pages["run in MLflow"] = links.to_run(links.run)
    if links.flow_run is not None:
        pages["flow run in Prefect"] = links.flow_run
    return "Look at: " + ", ".join(f"[{name}]({link})" for name, link in pages.items())


def _trials(result: Retraining, links: Links) -> str:
    counts = result.trials
    counted = (
        f"{counts.total} trials: {counts.trained} trained, {counts.cached} cached, "
        f"{counts.pruned} pruned, {counts.failed} failed. Best first, on validation:"
    )
    listed = [_trial(entry, links) for entry in result.leaderboard[:_TRIALS]]
    return "\n".join([counted, "", *(f"1. {trial}" for trial in listed)])


def _trial(entry: LeaderboardEntry, links: Links) -> str:
    label, run = label_of(entry.differences), links.trials.get(entry.key)
    # Prefect shows the backticks of code inside a link.
    linked = f"[{label}]({links.to_run(run)})" if run else f"`{label}`"
    return f"{linked}: {format_scores(entry.scores)}"
