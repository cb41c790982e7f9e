"""What MLflow and Prefect say of a retraining, in Markdown: verdict, reasons, where to look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flows.records.retraining import LeaderboardEntry, Retraining
from flows.search.progress import shown
from models.credentials import without_credentials
from models.errors import PitchpipeError
from models.search.proposals import label_of

_TRIALS = 5
"""Trials that the note lists, best first."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where the pages of one retraining are."""

    experiment_id: str
    run: str
    """Id of the parent run."""
    base: str = ""
    """Address of the MLflow UI; empty inside it."""
    trials: Mapping[str, str] = field(default_factory=dict)
    """Key -> id of the trial's run, as far as MLflow has it."""
    flow_run: str | None = None
    """Address of the flow run in Prefect's UI."""

    def to_run(self, run_id: str) -> str:
        """Page of a run."""
        return f"{self.base}/#/experiments/{self.experiment_id}/runs/{run_id}".removeprefix("/")

    def to_artifact(self, path: str) -> str:
        """Page that shows a file of the parent run."""
        return f"{self.to_run(self.run)}/artifacts/{path}"

    def to_version(self, name: str, version: int) -> str:
        """Page of a version."""
        return f"{self.base}/#/models/{name}/versions/{version}".removeprefix("/")


def retraining_note(result: Retraining, links: Links) -> str:
    """Tell what a retraining came to, and link to all it left; lists, for tables run together."""
    reasons = "\n".join(f"- {reason}" for reason in result.reasons)
    # MLflow shows the first lines, and the rest on a click: it lays a veil over what comes third,
    # and links under that cannot be clicked. So the first paragraph has them all.
    first = f"{_outcome(result, links)} {_pages(result, links)}."
    parts = [first, _scores(result), _trials(result, links), reasons]
    began = f"Began because: {result.decision.reason}."
    return "\n\n".join(part for part in [*parts, began] if part)


def failure_note(error: BaseException) -> str:
    """Tell why a retraining came to no end."""
    if isinstance(error, PitchpipeError):
        return f"**Failed**: {error}"
    if isinstance(error, Exception):
        said = without_credentials(str(error))
        return f"**Failed**, {type(error).__name__}: {said}"
    return "**Interrupted**; what was trained is kept, and the next retraining goes on from it."


def local_minute() -> str:
    """Return the time of day in the zone that both UIs show times in."""
    return f"{datetime.now(UTC).astimezone():%Y-%m-%d %H:%M}"


def headline(result: Retraining) -> str:
    """Say in a few words what a retraining came to: `PROMOTE: version 3`."""
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
    return f"Test: {shown(result.test)}." if result.test is not None else ""


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
    return f"{linked}: {shown(entry.scores)}"
