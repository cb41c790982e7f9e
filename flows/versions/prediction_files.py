"""Predictions written as CSV, JSON Lines or Parquet, a row at a time, whole or not at all."""

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from flows.records.spreadsheets import as_text
from flows.versions.predict import Prediction
from models.errors import ConfigError
from models.files import replacing

PIECE = 10_000
"""Rows of one Parquet row group."""


def write_predictions(
    output: Path, predictions: Iterable[Prediction], *, classes: Sequence[str]
) -> int:
    """Write predictions in the format of the file's ending; return how many.

    In CSV, a text that a spreadsheet would run as a formula gets a single quote in front; JSON
    Lines and Parquet keep it. Raises ConfigError for another ending, before any prediction.
    """
    writer = writer_for(output)
    number = itertools.count()
    counted = (prediction for prediction, _ in zip(predictions, number, strict=False))
    with replacing(output) as temporary:
        writer(temporary, counted, classes)
    return next(number)


def writer_for(output: Path) -> Callable[[Path, Iterable[Prediction], Sequence[str]], None]:
    """Return the writer for a file's ending. Raises ConfigError where there is none."""
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise ConfigError(f"--output {output}: ends with none of {', '.join(writers)}")
    return writers[output.suffix]


def _write_csv(path: Path, predictions: Iterable[Prediction], classes: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", *(f"p_{name}" for name in classes), "error"])
        for row in predictions:
            shares = row.probabilities or {}
            cells = [shares.get(name, "") for name in classes]
            image, label, error = (
                as_text(text or "") for text in (row.image, row.label, row.error)
            )
            writer.writerow([image, label, *cells, error])


def _write_jsonl(path: Path, predictions: Iterable[Prediction], _classes: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in predictions:
            file.write(json.dumps(row.document(), ensure_ascii=False) + "\n")


def _write_parquet(path: Path, predictions: Iterable[Prediction], classes: Sequence[str]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - half a second that CSV need not wait for
    import pyarrow.parquet as pq  # noqa: PLC0415

    shares = pa.struct([pa.field(name, pa.float32()) for name in classes])
    columns = {"image": pa.string(), "label": pa.string(), "probabilities": shares}
    schema = pa.schema(columns | {"milliseconds": pa.float64(), "error": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        documents = (row.document() for row in predictions)
        while rows := list(itertools.islice(documents, PIECE)):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
