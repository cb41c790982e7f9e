"""How many trials run at once, and what each of them takes."""

from pydantic import JsonValue

from flows.devices import cuda_devices
from flows.requests import Request
from models.config import Params
from models.processes import usable_cores
from models.trials import Device


def workers_for(params: Params, request: Request, device: Device) -> int:
    """Trials at once: as asked, else as many as the cores (or the GPUs) of this machine hold."""
    if request.workers is not None:
        return request.workers
    if device == "cuda":
        return max(1, len(cuda_devices()) // devices_a_trial(params))
    return max(1, usable_cores() // cores_a_trial(params))


def cores_a_trial(params: Params) -> int:
    """Cores that the largest trial of the search uses: its threads on each of its devices."""
    return _most(params, "threads") * devices_a_trial(params)


def devices_a_trial(params: Params) -> int:
    """Devices, each with a process, of the largest trial of the search."""
    return _most(params, "devices")


def _most(params: Params, field: str) -> int:
    values: list[JsonValue] = [getattr(params.trial, field)]
    # An axis replaces the base value.
    values = list(params.search.extremes.get(field, values))
    return max(int(value) for value in values if isinstance(value, int | float))
