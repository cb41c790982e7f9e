"""Summary of a retraining in Markdown, for MLflow and Prefect: verdict, reasons, links."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flows.records.retraining import LeaderboardEntry, Retraining
from flows.search.progress import format_scores
from models.credentials import without_credentials
from models.errors import PitchpipeError, quantity
from models.search.confirmation import describe_confirmation
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
    """Summarise a retraining and link to its results; lists, since MLflow runs tables together."""
    reasons = result.promotion.reasons if result.promotion else ()
    # MLflow shows the first lines, and the rest on a click: an overlay covers the third paragraph,
    # and links under it cannot be clicked. So the first paragraph has them all.
    parts = [
        f"{_outcome(result, links)} {_pages(result, links)}.",
        f"Test: {format_scores(result.test)}." if result.test else "",
        _trials(result, links),
        *_doubts(result),
        "\n".join(f"- {reason}" for reason in reasons),
        f"Began because: {result.decision.reason}.",
    ]
    return "\n\n".join(part for part in parts if part)


def failure_note(error: BaseException) -> str:
    """Say why a retraining did not end."""
    if isinstance(error, PitchpipeError):
        return f"**Failed**: {error}"
    if isinstance(error, Exception):
        return f"**Failed**, {type(error).__name__}: {without_credentials(str(error))}"
    return "**Interrupted**; what was trained is kept, and the next retraining goes on from it."


def local_minute() -> str:
    """Return date and time, to the minute, in the local zone, as both UIs show times."""
    return f"{datetime.now(UTC).astimezone():%Y-%m-%d %H:%M}"


def headline(result: Retraining) -> str:
    """Summarise a retraining in one line: `PROMOTE: version 3 is the champion`."""
    if not result.decision.retrain:
        return f"nothing to do: {result.decision.reason}"
    if result.promotion is None:
        return f"searched {quantity(result.trials.total, 'trial')}"
    promotion = result.promotion
    return f"{promotion.verdict}: version {promotion.version} {promotion.outcome}"


def _outcome(result: Retraining, links: Links) -> str:
    promotion, name = result.promotion, result.registered_name
    if promotion is None or name is None:
        return "**Search only**: nothing was registered."
    version = f"[version {promotion.version}]({links.to_version(name, promotion.version)})"
    because = promotion.reason.rstrip(".")
    ended = f"**{promotion.verdict}**: {version} of {name} {promotion.outcome}: {because}"
    champion = promotion.champion
    if champion == promotion.version:
        return f"{ended}."
    if champion is None:
        return f"{ended}; there is no champion yet."
    return f"{ended}; the champion is [version {champion}]({links.to_version(name, champion)})."


def _pages(result: Retraining, links: Links) -> str:
    pages = {}
    if result.promotion is not None:
        pages["report"] = links.to_artifact("report/report.html")
        if result.promotion.judgement.decision.comparison is not None:
            pages["images fixed and broken"] = links.to_artifact("report/why.html")
    pages["samples of the dataset"] = links.to_artifact("dataset/samples.png")
    if links.base:
        pages["run in MLflow"] = links.to_run(links.run)
    if links.flow_run is not None:
        pages["flow run in Prefect"] = links.flow_run
    return "Look at: " + ", ".join(f"[{name}]({link})" for name, link in pages.items())


def _trials(result: Retraining, links: Links) -> str:
    counts = result.trials
    counted = (
        f"{quantity(counts.total, 'trial')}: {counts.trained} trained, {counts.cached} cached, "
        f"{counts.pruned} pruned, {counts.failed} failed. Best first, on validation:"
    )
    listed = [_trial(entry, links) for entry in result.leaderboard[:_TRIALS]]
    baselines = [
        f"- {baseline.name}: {format_scores(baseline.scores)}" for baseline in result.baselines
    ]
    beside = ["", "Baselines, on the same images:", "", *baselines] if baselines else []
    return "\n".join([counted, "", *(f"1. {trial}" for trial in listed), *beside])


def _doubts(result: Retraining) -> Iterator[str]:
    """What validation cannot tell, and how much the choice flatters."""
    if result.confirmation and result.best is not None:
        by = result.best.config.objective
        yield f"Confirmation: {describe_confirmation(result.confirmation, by)}."
    if result.distinction is not None:
        yield f"Validation: {result.distinction.sentence}."
    if result.optimism is not None:
        yield f"Validation, {result.optimism.sentence}."


def _trial(entry: LeaderboardEntry, links: Links) -> str:
    label, run = label_of(entry.differences), links.trials.get(entry.key)
    # Prefect shows the backticks of code inside a link.
    linked = f"[{label}]({links.to_run(run)})" if run else f"`{label}`"
    alike = entry.from_best is not None and not entry.from_best.distinguishable
    doubt = ", not distinguishable from the best" if alike else ""
    return f"{linked}: {format_scores(entry.scores)}{doubt}"
