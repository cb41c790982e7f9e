"""Output of `data triage` and `data relabel` for people."""

from rich.console import Console
from rich.markup import escape

from flows.datasets.relabel import YARDSTICK, Relabelled

_SHORT = 12


def print_relabelled(done: Relabelled) -> None:
    """Print how many images have another label, in which splits, and how to take it back."""
    console = Console()
    if not done.is_new:
        console.print(escape(f"{done.file}: the last relabelling said the same, nothing was added"))
        return
    counts = ", ".join(f"{split} {images:,}" for split, images in done.splits.items())
    unchanged = f", {done.unchanged:,} lines changed nothing" if done.unchanged else ""
    console.print(
        escape(
            f"{done.file}: {done.changed:,} images relabelled, {done.dropped:,} dropped "
            f"({counts or 'in no split before'}){unchanged}; {done.dataset.name} is now "
            f"{done.dataset.digest[:_SHORT]}"
        )
    )
    if "test" in done.splits:
        console.print(f"{YARDSTICK[0].upper()}{YARDSTICK[1:]}.")
    console.print(
        "`pitchpipe run` trains on the new labels; "
        f"`pitchpipe data restore {done.before[:_SHORT]}` takes them back"
    )
