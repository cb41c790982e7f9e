"""What a retraining ends in on the terminal: leaderboard, test scores, verdict, where to look."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from flows.forecast import Forecast
from flows.progress import shown
from flows.requests import LeaderboardEntry, Retraining
from flows.tables import SCORE_HEADINGS, score_cells, trial_table

_ROWS = 20


def print_retraining(result: Retraining) -> None:
    """Print the summary of a retraining."""
    console = Console(markup=False)
    if not result.decision.retrain:
        console.print(f"Nothing to do: {result.decision.reason}.")
        return
    console.print(_leaderboard(result))
    counts = result.trials
    console.print(
        f"{counts.total} trials: {counts.trained} trained, {counts.cached} cached, "
        f"{_pruned(counts.pruned)}{counts.failed} failed; {result.seconds:.0f} s in all"
    )
    if result.test is not None:
        console.print(f"Test, the selected trial: {shown(result.test)}", highlight=False)
    if result.verdict is not None:
        _print_verdict(console, result)


def _pruned(count: int) -> str:
    return f"{count} pruned, " if count else ""


def _leaderboard(result: Retraining) -> Table:
    axes = list(dict.fromkeys(axis for entry in result.leaderboard for axis in entry.differences))
    table = trial_table(
        ("", *axes, *SCORE_HEADINGS, "epochs", "s", "key"), title="Leaderboard, by validation"
    )
    for place, entry in enumerate(result.leaderboard[:_ROWS], start=1):
        table.add_row(
            str(place),
            *(entry.differences.get(axis, "") for axis in axes),
            *score_cells(entry.scores),
            str(entry.epochs),
            _time_of(entry),
            entry.key[:8],
        )
    if len(result.leaderboard) > _ROWS:
        table.caption = f"{len(result.leaderboard) - _ROWS} more: pitchpipe trials"
    return table


def _time_of(entry: LeaderboardEntry) -> str:
    took = "cached" if entry.cached else f"{entry.seconds:.1f}"
    return f"pruned {took}" if entry.pruned else took


def _print_verdict(console: Console, result: Retraining) -> None:
    console.print(f"{result.verdict}: {result.registered_name} version {result.version}")
    for reason in result.reasons:
        console.print(Padding(reason, (0, 0, 0, 2)), highlight=False)
    console.print(
        f"""
Where to look next
  pitchpipe up         MLflow and Prefect in the browser
  pitchpipe versions   the registry; the champion is version {result.champion}
  {result.report}""",
        highlight=False,
        soft_wrap=True,  # a path cut in two cannot be clicked
    )


def print_forecast(forecast: Forecast) -> None:
    """Print what a retraining would do."""
    console = Console(markup=False)
    counts = forecast.trials
    answer = "would retrain" if forecast.decision.retrain else "would not retrain"
    console.print(f"{answer}: {forecast.decision.reason}")
    console.print(
        f"{counts.total} trials: {counts.trained} to train up to {forecast.epochs} epochs, "
        f"{counts.cached} cached"
    )
    for label in forecast.labels[:_ROWS]:
        console.print(f"  {label}", highlight=False)
    if len(forecast.labels) > _ROWS:
        console.print(f"  ... and {len(forecast.labels) - _ROWS} more")
    if forecast.later:
        console.print(f"  and {forecast.later} more, chosen by what earlier ones come to")
    about = "unknown" if forecast.seconds is None else f"about {forecast.seconds:.0f} s"
    console.print(f"training time: {about} ({forecast.basis})")
