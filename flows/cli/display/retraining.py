"""Summary of a retraining for people: leaderboard, test scores, verdict, links; its forecast."""

from collections.abc import Sequence

import yaml
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from flows.cli.display.tables import ALIKE, Column, fitted_table, mark_of, score_columns
from flows.records.promotion import Promotion
from flows.records.retraining import LeaderboardEntry, Retraining
from flows.retraining.decide import other_default
from flows.retraining.forecast import Forecast
from flows.search.progress import format_scores
from models.config import Params
from models.config.trial import Objective
from models.errors import quantity
from models.search.confirmation import Confirmed, describe_confirmation
from models.search.proposals import label_of

_ROWS = 20


def print_retraining(result: Retraining) -> None:
    """Print the summary of a retraining."""
    console = Console(markup=False)
    if not result.decision.retrain:
        console.print(f"Nothing to do: {result.decision.reason}.")
        return
    console.print(_leaderboard(result, width=console.width))
    if result.confirmation and result.best is not None:
        console.print(_confirmation(result.confirmation, width=console.width))
        by = result.best.config.objective
        said = describe_confirmation(result.confirmation, by)
        console.print(f"Confirmation: {said}", highlight=False)
    if result.baselines:
        console.print(_baselines(result, width=console.width))
    counts = result.trials
    console.print(
        f"{quantity(counts.total, 'trial')}: {counts.trained} trained, {counts.cached} cached, "
        f"{_pruned(counts.pruned)}{counts.failed} failed; {result.seconds:.0f} s in all"
    )
    if result.not_begun:
        limits = "search.max_seconds or search.max_epochs_total"
        console.print(f"{result.not_begun} more were not started: {limits} was reached")
    if result.distinction is not None:
        console.print(f"Validation, {ALIKE}: {result.distinction.sentence}", highlight=False)
    if result.optimism is not None:
        console.print(f"Validation, {result.optimism.sentence}", highlight=False)
    if result.test is not None:
        scored = "its refit on train and validation" if result.refit else "the selected trial"
        console.print(f"Test, {scored}: {format_scores(result.test)}", highlight=False)
    if result.promotion is not None:
        _print_verdict(console, result, result.promotion)


def _pruned(count: int) -> str:
    return f"{count} pruned, " if count else ""


def _leaderboard(result: Retraining, *, width: int) -> Table:
    shown_entries = result.leaderboard[:_ROWS]
    axes = dict.fromkeys(axis for entry in shown_entries for axis in entry.differences)
    table = fitted_table(
        (
            Column(
                "", [_place(place, entry) for place, entry in enumerate(shown_entries, start=1)]
            ),
            *(
                Column(
                    axis, [entry.differences.get(axis, "") for entry in shown_entries], axis=True
                )
                for axis in axes
            ),
            *score_columns([entry.scores for entry in shown_entries]),
            Column("epochs", [str(entry.epochs) for entry in shown_entries]),
            Column("s", [_time_of(entry) for entry in shown_entries]),
            Column("key", [entry.key[:8] for entry in shown_entries]),
        ),
        width=width,
        title="Leaderboard, by validation",
    )
    if len(result.leaderboard) > _ROWS:
        more = f"{len(result.leaderboard) - _ROWS} more: pitchpipe trials"
        table.caption = f"{table.caption}\n{more}" if table.caption else more
    return table


def _confirmation(ranked: Sequence[Confirmed], *, width: int) -> Table:
    """Means and standard deviations over other seeds."""
    scores: dict[Objective, int] = {"accuracy": 0, "f1_macro": 2, "cross_entropy": 1}
    return fitted_table(
        (
            Column("", [label_of(one.differences) for one in ranked], wraps=True),
            *(
                Column(name.replace("_", " "), [one.spread(name) for one in ranked], spare=spare)
                for name, spare in scores.items()
            ),
            Column("n", [str(one.seeds) for one in ranked]),
            Column("failed", [str(one.failed) for one in ranked]),
            Column("key", [one.key[:8] for one in ranked]),
        ),
        width=width,
        title="Trained again with other seeds: mean +- standard deviation",
    )


def _baselines(result: Retraining, *, width: int) -> Table:
    """The simple classifiers, and how far the selected trial is ahead of the best of them."""
    table = fitted_table(
        (
            Column("", [baseline.name for baseline in result.baselines]),
            *score_columns([baseline.scores for baseline in result.baselines]),
        ),
        width=width,
        title="Baselines, on the same validation images",
    )
    if result.best is not None:
        lead = 100 * (result.best.scores.accuracy - result.baselines[0].scores.accuracy)
        far = f"{abs(lead):.1f} points {'ahead of' if lead > 0 else 'behind'}"
        table.caption = f"the selected trial is {far} the best of them in accuracy"
    return table


def _place(place: int, entry: LeaderboardEntry) -> str:
    return f"{place}{mark_of(entry.from_best)}"


def _time_of(entry: LeaderboardEntry) -> str:
    if entry.pruned:
        return "pruned"
    return "cached" if entry.cached else f"{entry.seconds:.1f}"


def _print_verdict(console: Console, result: Retraining, promotion: Promotion) -> None:
    version, champion = promotion.version, promotion.champion
    name = f"{result.registered_name} version {version}"
    console.print(f"{promotion.verdict}: {name} {promotion.outcome}", highlight=False)
    for reason in promotion.reasons:
        console.print(Padding(reason, (0, 0, 0, 2)), highlight=False)
    serving = f"the champion is version {champion}" if champion else "there is no champion yet"
    model = f" --model {result.registered_name}" if other_default() else ""
    console.print(
        f"""
Where to look next
  pitchpipe up         MLflow and Prefect in the browser
  pitchpipe versions{model}   the registry; {serving}
  {result.report}""",
        highlight=False,
        soft_wrap=True,  # a path cut in two cannot be clicked
    )


def format_differences(params: Params, default: Params) -> list[str]:
    """Format what differs from the default as lines of a params file, one a section."""
    mine, theirs = params.model_dump(mode="json"), default.model_dump(mode="json")
    sections = {
        name: {key: value for key, value in section.items() if value != theirs[name][key]}
        for name, section in mine.items()
    }
    return [
        f"{name}: {yaml.safe_dump(keys, default_flow_style=True, sort_keys=False, width=_LINE)}"
        for name, keys in sections.items()
        if keys
    ]


_LINE = 10**6
"""Characters of a line that is to be copied whole."""


def print_forecast(forecast: Forecast) -> None:
    """Print what a retraining would do."""
    console = Console(markup=False)
    counts = forecast.trials
    decision = "would retrain" if forecast.decision.retrain else "would not retrain"
    console.print(f"{decision}: {forecast.decision.reason}")
    console.print(
        f"{quantity(counts.total, 'trial')}: {counts.trained} to train up to "
        f"{quantity(forecast.epochs, 'epoch')}, "
        f"{counts.cached} cached"
    )
    for label in forecast.labels[:_ROWS]:
        console.print(f"  {label}", highlight=False)
    if len(forecast.labels) > _ROWS:
        console.print(f"  ... and {len(forecast.labels) - _ROWS} more")
    if forecast.later:
        console.print(f"  and {forecast.later} more, chosen by the scores of earlier ones")
    if forecast.seconds is None:
        console.print(f"training time: {forecast.basis}")
    else:
        console.print(f"training time: about {forecast.seconds:.0f} s ({forecast.basis})")
    if forecast.data is not None:
        console.print(f"data: {forecast.data.sentence}", highlight=False)
    if forecast.gate is not None:
        console.print(f"gate: {forecast.gate.sentence}", highlight=False)
