"""Find a learning rate: a range test on the prepared train split, kept on disk and in MLflow."""

import logging
from datetime import UTC, datetime

from flows.datasets.current import manifest_of, prepare_dataset
from flows.records.range_tests import (
    RangeTestRecord,
    known_range_test,
    range_figure_of,
    remember_range_test,
)
from flows.tracking.range_tests import log_range_test
from flows.tracking.store import TrackingError, open_tracking
from models.config import Params
from models.datasets.prepared import Manifest, open_split
from models.digests import digest_of
from models.errors import ConfigError, InputError
from models.search.learning_rate_figure import range_figure
from models.search.learning_rate_range import RangeTest, sweep_learning_rate
from models.training.source import package_versions, training_source_digest
from models.training.trial_faults import TrialFault

log = logging.getLogger(__name__)


def find_learning_rate(params: Params, *, low: float, high: float) -> RangeTestRecord:
    """Sweep the learning rate of `trial:` from low to high on the train split; keep the result.

    The data is prepared as for a retraining. Neither validation nor test images are read, and the
    trial store is not touched. The record is written before MLflow is told; where MLflow refuses,
    a warning is logged. Raises ConfigError for a `trial.start`, InputError where the network cannot
    be trained, and as `prepare_dataset` does.
    """
    if params.trial.asks_for_weights:
        raise ConfigError(
            "trial.start: a range test begins with new weights, and those of a parent have another "
            "curve; leave trial.start and trial.network.pretrained out for the former"
        )
    dataset = prepare_dataset(params.data)
    manifest = manifest_of(dataset)
    train = open_split(dataset.prepared, "train", verify=False)
    try:
        test = sweep_learning_rate(params.trial, manifest, train, low=low, high=high)
    except TrialFault as fault:
        raise InputError(f"{fault.reason}; change `trial:`, or lower --low") from fault
    return _keep(_record(params, manifest, test, low=low, high=high))


def _record(
    params: Params, manifest: Manifest, test: RangeTest, *, low: float, high: float
) -> RangeTestRecord:
    identity = digest_of(
        {
            "config": params.trial.model_dump(mode="json"),
            "dataset": manifest.digest,
            "range": [low, high],
            "source": training_source_digest(),
            "versions": dict(package_versions()),
        }
    )
    known = known_range_test(params.registered_name, identity)
    return RangeTestRecord(
        id=identity,
        at=known.at if known else datetime.now(UTC),
        name=params.registered_name,
        dataset=manifest.name,
        dataset_digest=manifest.digest,
        config=params.trial,
        test=test,
        suggested=test.suggested,
    )


def _keep(record: RangeTestRecord) -> RangeTestRecord:
    figure = range_figure(record.test)
    path = remember_range_test(record, figure)
    try:
        run_id = log_range_test(open_tracking(record.name), record)
    except (TrackingError, OSError) as error:
        log.warning("%s has the range test; MLflow does not: %s", path, error)
        return record
    record = record.model_copy(update={"run_id": run_id})
    remember_range_test(record, figure)
    return record


def describe_range_test(record: RangeTestRecord) -> str:
    """Say what was found, in two lines."""
    test, figure = record.test, range_figure_of(record)
    if record.suggested is None:
        return (
            f"The loss did not fall at any learning rate from {test.rates[0]:.2g} to "
            f"{test.rates[-1]:.2g}: look at the data and at `trial:`. The curve: {figure}"
        )
    return (
        f"Steepest descent at {test.steepest:.2g}, lowest loss at {test.minimum:.2g}, in "
        f"{len(test.rates)} steps from {test.rates[0]:.2g} to {test.rates[-1]:.2g}. "
        f"The curve: {figure}\n"
        f"Try: pitchpipe run --set trial.optimizer.learning_rate={record.suggested:.2g}"
    )
