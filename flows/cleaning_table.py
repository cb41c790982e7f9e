"""What `gc` removed and kept, for people."""

from collections import Counter
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from flows.retention import CleanedItem, Cleaning


def print_cleaning(cleaning: "Cleaning") -> None:
    """Print a row for each reason that something goes or stays for, and the bytes that are free."""
    console = Console(markup=False, highlight=False)
    reasons = Counter((item.kind, "goes", item.why) for item in cleaning.removed)
    reasons.update((item.kind, "stays", item.why) for item in cleaning.kept)
    table = Table("what", "", "how many", "bytes", "why", box=SIMPLE)
    for (kind, fate, why), count in sorted(reasons.items()):
        items = cleaning.removed if fate == "goes" else cleaning.kept
        table.add_row(kind, fate, f"{count:,}", f"{_bytes(items, kind, why):,}", why)
    if reasons:
        console.print(table)
    freed = "would be freed; nothing was removed" if cleaning.dry_run else "freed"
    console.print(f"{cleaning.bytes:,} bytes {freed}")


def _bytes(items: "tuple[CleanedItem, ...]", kind: str, why: str) -> int:
    return sum(item.bytes for item in items if (item.kind, item.why) == (kind, why))
