"""Curves of trials as CSV: a row an epoch, with the trial's state, dataset and config beside it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from flows.records.spreadsheets import as_text
from flows.records.trial_store import StoredTrial
from models.errors import ConfigError
from models.files import replacing
from models.record import leaves
from models.trials import EpochRecord

Row = Mapping[str, JsonValue]
_CONFIG = "config."
"""Before the dotted path of a field of the config: `seed` and `epoch` might be either's."""


def curve_rows(trials: Sequence[StoredTrial]) -> Iterator[Row]:
    """Yield a row for each epoch, in the order of the trials; trials without an epoch have none.

    Columns: key, state, dataset (the digest of its arrays), the fields of EpochRecord, then those
    of the config, whose names begin with `config.`.
    """
    for trial in trials:
        named = {"key": trial.key, "state": trial.state, "dataset": trial.spec.dataset}
        config = {f"{_CONFIG}{path}": leaf for path, leaf in leaves(trial.spec.config).items()}
        for epoch in trial.history:
            yield named | epoch.model_dump() | config


def save_curves(output: Path, trials: Sequence[StoredTrial]) -> int:
    """Write the rows as a CSV file, whole or not at all; return how many rows.

    Raises ConfigError where the file's name ends in something else.
    """
    if output.suffix != ".csv":
        raise ConfigError(f"--output {output}: does not end with .csv, the format that is written")
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        return write_curves(file, trials)


def write_curves(file: TextIO, trials: Sequence[StoredTrial]) -> int:
    """Write the rows as CSV with a line of headings; return how many rows.

    A field that another kind of network has is empty, as is one that is null.
    """
    rows = list(curve_rows(trials))
    first = ("key", "state", "dataset", *EpochRecord.model_fields)
    columns = dict.fromkeys((*first, *(name for row in rows for name in row)))
    writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return len(rows)


def _cell(value: JsonValue) -> JsonValue:
    if value is None or isinstance(value, bool | int | float):
        return value
    return as_text(str(value))
