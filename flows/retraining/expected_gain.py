"""What new images promise, by the measured curve of their dataset; light to import."""

from flows.datasets.current import prepared_manifest
from flows.records.data_value import latest_value
from flows.records.looks import gate_outlook
from models.config import Params
from models.decision import ExpectedGain, NewData
from models.evaluation.data_value.records import DataValue


def expected_gain(params: Params, new: NewData | None) -> ExpectedGain | None:
    """Return the gain that new images promise, beside what today's test split can show.

    None where `data worth` was not asked about this dataset, or nothing is new.
    """
    value = latest_value(params.registered_name, params.data.name)
    if value is None or new is None or not new.images:
        return None
    found = value.expected(new.images)
    return ExpectedGain(
        gain=found.value,
        low=found.interval.low,
        high=found.interval.high,
        detectable=_detectable(params, value),
    )


def _detectable(params: Params, value: DataValue) -> float | None:
    manifest = prepared_manifest()
    if manifest is None or manifest.name != value.dataset:
        return None
    gate = gate_outlook(params.registered_name, manifest, params.gate)
    return gate.detectable if gate else None
