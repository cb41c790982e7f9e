"""Have the images that came since the last retraining drifted? One report a decision."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from registry_records import BARS
from training_fixtures import bars_images

from flows.datasets.files import RAW, raw_version
from flows.datasets.versions import images_since, log_version
from flows.records import ledger
from flows.records.drift_reports import drift_records, remember_drift
from flows.records.ledger import LedgerAction
from flows.retraining.decide import remember
from flows.schedules.config import Schedule
from flows.schedules.drift import expected_accuracy, newest_look, scores_of
from flows.schedules.triggers import pending_triggers
from flows.tracking.store import Tracking
from flows.versions.monitor import monitor_version
from models.config import Params, load_params
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.prepared import read_manifest
from models.decision import Completed, DriftScore, Fingerprint
from models.monitoring.records import threshold_of

pytest_plugins = ["registry_fixtures", "registry_project"]

TESTS = ["brightness", "contrast", "embedding", "classes", "confidence"]
ON_DRIFT = Schedule(name="drift", on="drift")


@pytest.fixture(autouse=True)
def _served(bars_tracking: Tracking) -> None:
    """Version 1 is the champion, of one old batch; prepared data go by its lineage's name."""
    manifest = Path("data/prepared/manifest.json")
    renamed = read_manifest(manifest.parent).model_copy(update={"name": "digits"})
    manifest.write_text(renamed.model_dump_json())
    bars_tracking.client.set_registered_model_alias(BARS, "champion", "1")
    Path("params.yaml").write_text(
        "data: {name: bars, image_size: 8}\n"
        "trial: {network: {name: mlp}}\n"
        "drift: {minimum_images: 20, permutations: 199}\n"
    )
    deliver("old", seed=100)
    log_version("bars")


def measure_drift(params: Params) -> tuple[DriftScore, ...]:
    return scores_of(newest_look(params))


def params(drift: str = "window_images: 1000") -> Params:
    """Read params.yaml, with a further line of its section on drift."""
    text = Path("params.yaml").read_text()
    path = Path("asked.yaml")
    path.write_text(text.replace("drift: {", f"drift: {{{drift}, "))
    return load_params(path)


def deliver(name: str, *, seed: int, count: int = 40, inverted: bool = False) -> Path:
    """Put a batch of the prepared images' kind, or of the opposite, into the dataset."""
    pixels = bars_images(count, seed=seed)
    return write(RAW / f"bars/{name}.parquet", 255 - pixels if inverted else pixels)


def write(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nowhere = (None,) * len(pixels)
    rows = PixelRows(pixels.transpose(0, 2, 3, 1), np.zeros(len(pixels), np.int64), nowhere)
    write_batch(path, ("top", "middle", "bottom"), [rows])
    return path


def retrained(*, finished: datetime | None = None) -> None:
    """Remember a retraining that began with the batches there are now."""
    data = raw_version("bars").digest
    remember(
        Completed(
            fingerprint=Fingerprint(data=data, params="p", source="s", environment="e"),
            finished=finished or datetime.now(UTC),
            verdict="HOLD",
            version=1,
            champion=1,
        )
    )


def test_before_the_first_retraining_nothing_is_compared() -> None:
    """There is nothing that images could have drifted from."""
    deliver("new", seed=1, inverted=True)
    assert measure_drift(params()) == ()
    assert drift_records(BARS) == []


def test_without_new_batches_nothing_is_compared() -> None:
    """The last retraining had all of them."""
    retrained()
    assert measure_drift(params()) == ()


def test_new_batches_are_one_sample_and_one_report() -> None:
    """Eight batches, each too small alone: five tests in all, of all their images, held to 5 %."""
    retrained()
    for number in range(8):
        deliver(f"new-{number}", seed=number, count=12)
    look = newest_look(params())
    scores = scores_of(look)
    assert [score.name for score in scores] == TESTS
    expected = expected_accuracy(look)
    assert expected is not None
    assert expected.low <= expected.accuracy <= expected.high
    assert {score.threshold for score in scores} == {threshold_of(1, params().drift)}
    assert not any(score.drift for score in scores)
    [record] = drift_records(BARS)
    assert record.report.batch_images == 96
    assert record.batches == tuple(f"data/raw/bars/new-{number}.parquet" for number in range(8))
    assert record.source == "data/raw/bars (8 batches)"
    assert measure_drift(params()) == scores
    assert len(drift_records(BARS)) == 1


def test_a_look_is_at_images_not_looked_at_before() -> None:
    """After "no drift" the pool does not grow: the next look has the new batch, at its own level.

    Only as far as that has fewer images than a window do the newest of the earlier ones join it.
    """
    retrained()
    for number in range(3):
        deliver(f"new-{number}", seed=number)
        measure_drift(params("window_images: 60"))
    one, two, three = drift_records(BARS)
    assert [record.report.look for record in (one, two, three)] == [1, 2, 3]
    thresholds = [record.report.tests[0].threshold for record in (one, two, three)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert one.batches == ("data/raw/bars/new-0.parquet",)
    assert two.batches == ("data/raw/bars/new-1.parquet", "data/raw/bars/new-0.parquet")
    assert three.batches == ("data/raw/bars/new-2.parquet", "data/raw/bars/new-1.parquet")


def test_new_images_are_counted_against_those_of_the_last_retraining() -> None:
    """By the batches of the versions; None where the data as they are now were never logged."""
    before = raw_version("bars").digest
    assert images_since(before, "bars") == (0, 40, 0)
    deliver("new", seed=1, count=25)
    assert images_since(before, "bars") is None
    log_version("bars")
    assert images_since(before, "bars") == (25, 40, 0)


def test_an_alarm_stands_until_a_retraining_has_its_batches() -> None:
    """Images that come meanwhile are not asked; afterwards the batches are what is known."""
    retrained()
    deliver("other", seed=1, inverted=True)
    alarm = measure_drift(params())
    assert any(score.drift for score in alarm)
    deliver("calm", seed=2)
    assert measure_drift(params()) == alarm
    assert len(drift_records(BARS)) == 1
    log_version("bars")
    retrained()
    deliver("other-again", seed=3, inverted=True)
    measure_drift(params())
    [_, answered] = drift_records(BARS)
    assert answered.report.look == 2
    assert answered.batches == ("data/raw/bars/other-again.parquet",)
    assert answered.report.reference_images == 30 + 40


def test_batches_that_drifted_together_are_drift() -> None:
    """Images of another kind, spread over batches."""
    retrained()
    for number in range(3):
        deliver(f"new-{number}", seed=number, count=12, inverted=True)
    assert any(score.drift for score in measure_drift(params()))


def test_what_a_person_monitored_decides_nothing(bars_tracking: Tracking) -> None:
    """Reports of other images and other versions would each be one more chance of a false alarm."""
    retrained()
    deliver("new", seed=1)
    other = write(Path("other.parquet"), 255 - bars_images(60, seed=2))
    for version in ("1", "2"):
        assert monitor_version(bars_tracking, other, params().drift, version=version).report.drift
    scores = measure_drift(params())
    assert len(scores) == 5
    assert not any(score.drift for score in scores)


def test_a_batch_added_during_a_retraining_is_new_and_a_touched_one_is_not() -> None:
    """Which batches the last retraining had is known by their content, whatever clocks say."""
    began = datetime.now(UTC)
    retrained(finished=began + timedelta(hours=1))
    during = deliver("during", seed=1)
    os.utime(during, (began.timestamp(), began.timestamp()))
    later = (began + timedelta(hours=2)).timestamp()
    os.utime(RAW / "bars/old.parquet", (later, later))
    assert len(measure_drift(params())) == 5
    [record] = drift_records(BARS)
    assert record.batches == ("data/raw/bars/during.parquet",)


def test_a_batch_that_cannot_be_read_is_said_and_the_others_are_compared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Damaged beneath its footer: a warning names it; alone, there is no score at all."""
    retrained()
    damaged = deliver("damaged", seed=1)
    content = bytearray(damaged.read_bytes())
    content[200] ^= 0xFF
    damaged.write_bytes(content)
    assert measure_drift(params()) == ()
    assert "damaged.parquet was not compared" in caplog.text
    assert "none of 1 new batches can be read" in caplog.text
    deliver("whole", seed=2)
    assert len(measure_drift(params())) == 5
    [record] = drift_records(BARS)
    assert record.batches == ("data/raw/bars/whole.parquet",)


@pytest.mark.parametrize(
    ("case", "said"),
    [("few", "12 different images"), ("champion", "no version 'champion'"), ("version", "has no")],
)
def test_what_cannot_be_compared_is_no_score_and_said(
    bars_tracking: Tracking, caplog: pytest.LogCaptureFixture, case: str, said: str
) -> None:
    """Too few images, no champion, a list of versions that does not know the last data."""
    retrained()
    deliver("new", seed=1, count=12 if case == "few" else 40)
    if case == "champion":
        bars_tracking.client.delete_registered_model_alias(BARS, "champion")
    if case == "version":
        Path("data/versions.jsonl").unlink()
    assert measure_drift(params()) == ()
    assert said in caplog.text
    assert drift_records(BARS) == []


def test_only_a_persons_report_about_the_champion_is_news(bars_tracking: Tracking) -> None:
    """Not one of another version, nor one of an earlier champion, nor the schedule's own."""
    ledger.append(LedgerAction(action="promote", name=BARS, after=1))
    retrained(finished=datetime.now(UTC) - timedelta(minutes=1))
    other = write(Path("other.parquet"), 255 - bars_images(60, seed=2))
    monitor_version(bars_tracking, other, params().drift, version="2")
    deliver("new", seed=3, inverted=True)
    assert any(score.drift for score in measure_drift(params()))
    assert pending_triggers(ON_DRIFT).drifted == ()
    asked = monitor_version(bars_tracking, other, params().drift)
    assert asked.report.drift
    assert pending_triggers(ON_DRIFT).drifted == (asked.id,)
    ledger.append(LedgerAction(action="promote", name=BARS, before=1, after=2))
    remember_drift(asked)
    assert asked.id not in pending_triggers(ON_DRIFT).drifted
