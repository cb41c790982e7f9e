"""A record as one run of MLflow: whole, or marked as broken off and completed by the next call."""

import pytest

from flows.tracking.runs import Runs
from flows.tracking.single_run import SingleRun, log_once
from flows.tracking.store import Tracking

pytest_plugins = ["registry_fixtures"]

SINGLE = SingleRun(
    name="lr-find", tag="lr_find.test", id="7", source="test", note="a note", at=1000
)


def test_it_is_written_once(tracking: Tracking) -> None:
    """The second call finds it, and writes nothing."""
    runs, written = Runs(tracking), list[str]()

    first = log_once(runs, SINGLE, written.append)
    second = log_once(runs, SINGLE, written.append)

    assert (first[1], second[1]) == (True, False)
    assert written == [first[0]] == [second[0]]
    [run] = runs.search("")
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1000)
    assert run.data.tags["mlflow.note.content"] == "a note"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_broken_off_it_is_failed_and_completed_by_the_next_call(
    tracking: Tracking, error: BaseException
) -> None:
    """Nothing stays RUNNING, and there is one run after all."""
    runs = Runs(tracking)

    def fail(_: str) -> None:
        raise error

    with pytest.raises(type(error)):
        log_once(runs, SINGLE, fail)
    statuses = [run.info.status for run in runs.search("")]
    run_id, new = log_once(runs, SINGLE, lambda _: None)

    assert statuses == ["FAILED"]
    assert new
    assert [(run.info.run_id, run.info.status) for run in runs.search("")] == [(run_id, "FINISHED")]
