"""The challengers that the gate judged last, with their scores; light to import."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

from flows.records.champion import MLFLOW_DATABASE, is_own_database, open_read_only
from flows.records.ledger import Entry
from models.config import Record
from models.config.policies import Verdict

MOST = 30
_ACCURACIES = "SELECT version, value FROM model_version_tags WHERE name = ? AND key = ?"


class Judged(Record):
    """A version and its newest verdict."""

    version: int
    verdict: Verdict
    accuracy: float | None
    """On the test split, when it was registered; null where MLflow is a server, which `status` does
    not ask for each version, or where the version is gone."""


def judged_last(
    name: str, entries: Sequence[Entry], *, database: Path = MLFLOW_DATABASE
) -> tuple[Judged, ...]:
    """Return the versions judged last, at most 30, in the order of their newest verdicts.

    entries: of the ledger, about the name. Raises sqlite3.Error where the database cannot be read.
    """
    verdicts: dict[int, Verdict] = {}
    for entry in entries:
        if entry.verdict is not None and entry.intends is None and entry.after is not None:
            verdicts.pop(entry.after, None)  # the newest counts, and where it stands
            verdicts[entry.after] = entry.verdict
    newest = list(verdicts.items())[-MOST:]
    accuracies = _accuracies(name, database) if newest and is_own_database() else {}
    return tuple(
        Judged(version=version, verdict=verdict, accuracy=accuracies.get(version))
        for version, verdict in newest
    )


def _accuracies(name: str, database: Path) -> dict[int, float]:
    if not database.exists():
        return {}
    with contextlib.closing(open_read_only(database)) as connection:
        found = connection.execute(_ACCURACIES, (name, "test.accuracy")).fetchall()
    numbers = {int(version): _number(value) for version, value in found}
    return {version: number for version, number in numbers.items() if number is not None}


def _number(tag: str) -> float | None:
    """A tag's number; None for what somebody wrote there in MLflow's page."""
    try:
        value = float(tag)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
