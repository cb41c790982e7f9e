"""Numbers of things in messages, and what is not said where there is nothing to say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli.display.datasets import print_status
from flows.cli.display.retraining import print_forecast
from flows.datasets.deliveries import InboxState
from flows.datasets.status import DatasetStatus
from flows.records.retraining import TrialCounts
from flows.retraining.forecast import Forecast
from models.decision import Decision
from models.errors import quantity, some_of


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "batch", "1 batch"),
        (0, "trial", "0 trials"),
        (2, "batch", "2 batches"),
        (1200, "delivery", "1,200 deliveries"),
        (3, "day", "3 days"),
        (2, "class", "2 classes"),
        (50, "epoch", "50 epochs"),  # as it is said, no hiss
    ],
)
def test_a_number_has_its_noun(number: int, noun: str, said: str) -> None:
    assert quantity(number, noun) == said


@pytest.mark.parametrize(("count", "said"), [(0, 0), (5, 5), (6, 6), (1_000_000, 6)])
def test_of_many_sentences_a_few_are_said(count: int, said: int) -> None:
    """And how many more there are."""
    sentences = some_of(["no"] * count)

    assert len(sentences) == said
    assert sentences[5:] == ((f"and {count - 5:,} more",) if count > 5 else ())


@given(st.integers(0, 10**9))
def test_one_alone_is_singular(number: int) -> None:
    assert (quantity(number, "file") == f"{number:,} file") is (number == 1)


def test_a_forecast_of_one_trial_says_once_that_its_time_is_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_forecast(
        Forecast(
            decision=Decision(retrain=True, reason="asked"),
            trials=TrialCounts(total=1, trained=1),
            labels=(),
            epochs=1,
            seconds=None,
            basis="not known: nothing is prepared",
        )
    )
    said = capsys.readouterr().out

    assert "1 trial: 1 to train up to 1 epoch, 0 cached\n" in said
    assert "training time: not known: nothing is prepared\n" in said


def test_a_status_without_prepared_data_has_no_empty_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inbox = InboxState(path="inbox", waiting=("one",), arriving=(), quarantined=())
    print_status(
        DatasetStatus(
            name="pets",
            digest="d" * 64,
            batches=("a.parquet",),
            added=(),
            removed=(),
            altered=(),
            problems=(),
            prepared=False,
            splits={},
            inbox=inbox,
        )
    )
    said = capsys.readouterr().out

    assert f"pets {'d' * 12}: 1 batch\n" in said
    assert "inbox: 1 delivery waits;" in said
    assert "digest" not in said
