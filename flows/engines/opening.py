"""Choice and opening of the engine that a retraining asks for."""

import contextlib
import importlib.util
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from flows.engines.cluster import Cluster, ClusterEngine, WorkerRequirements
from flows.engines.devices import cuda_devices, device_for
from flows.engines.local import Engine, LocalEngine
from flows.engines.worker_contract import open_contract
from flows.records.retraining import Request
from models.config import Params
from models.errors import ConfigError
from models.processes import LINUX, usable_cores
from models.trials import Device

CONNECT_SECONDS = 5
EXTRAS = {"dask": "distributed", "ray": "ray"}
"""Engine, which is also the name of the extra -> the package that it needs."""


@dataclass(frozen=True, slots=True)
class OpenEngine:
    """An open engine."""

    engine: Engine
    workers: int
    """Trials at the same time."""
    device: Device


def check_engine(request: Request) -> None:
    """Raise ConfigError where the engine asked for is not installed, or its address is dead."""
    name, address = request.engine, request.engine_address
    if name == "processes":
        if address is not None:
            raise ConfigError(
                f"--engine-address {address}: processes run on this machine and have no address; "
                "choose --engine dask or --engine ray"
            )
    elif importlib.util.find_spec(EXTRAS[name]) is None:
        raise ConfigError(
            f"--engine {name}: is not installed; `make install EXTRAS={name}` in the checkout of "
            "pitchpipe does it"
        )
    elif address is not None:
        _check_address(address)
    if address is None or request.device != "cuda":  # with an address, the workers' machines count
        device_for(request.device)


def check_devices(params: Params, request: Request) -> None:
    """Raise ConfigError for trials on several devices where these cannot train them together."""
    devices = devices_a_trial(params)
    if devices > 1 and request.engine_address is None and not LINUX:
        raise ConfigError(
            f"trial.devices {devices}: the processes of one trial are forked with torch loaded, "
            "which only Linux bears; set trial.devices to 1, or name a cluster of Linux by "
            "--engine-address"
        )
    if "async" in _values(params, "strategy") and device_of(request) == "cuda":
        raise ConfigError(
            "trial.strategy async: its processes share weights in the CPUs' memory, and these "
            "trials would train on GPUs; choose --device cpu, or strategy: ddp"
        )
    if os.environ.get("NNODES", "1") != "1" and devices > 1:
        _check_nodes(params, request)


def _check_nodes(params: Params, request: Request) -> None:
    """Raise ConfigError where several machines could not train the same trials at the same time."""
    from models.training.nodes import NODES, nodes_of  # noqa: PLC0415 - imports torch

    for devices in _values(params, "devices"):
        for strategy in _values(params, "strategy"):
            changed = {"devices": devices, "strategy": strategy}
            nodes_of(params.trial.model_copy(update=changed), os.environ)
    if request.engine != "processes" or request.workers != 1:
        raise ConfigError(
            f"{NODES} {os.environ[NODES]}: every node trains the same trials in the same order, "
            "one at a time: give --workers 1, and no --engine"
        )


def _check_address(address: str) -> None:
    found = re.fullmatch(r"(?:(?:tcp|tls)://)?\[?([^/\[\]]+?)\]?:(\d{1,5})", address)
    if found is None:
        raise ConfigError(f"--engine-address {address}: is not HOST:PORT")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--engine-address {address}: nothing answers there ({error}); start the cluster, or "
            "leave the address out to have one started"
        ) from None


def device_of(request: Request) -> Device:
    """Return the kind of processor that a request's trials train on."""
    asked_of_workers = request.device == "cuda" and request.engine_address is not None
    return "cuda" if asked_of_workers else device_for(request.device)


@contextlib.contextmanager
def open_engine(params: Params, request: Request) -> Iterator[OpenEngine]:
    """Open the engine asked for, while inside; a cluster of our own is then ended."""
    device = device_of(request)
    workers = workers_for(params, request, device)
    if request.engine == "processes":
        engine = LocalEngine()
        try:
            yield OpenEngine(engine, workers, device)
        finally:
            engine.stop()
        return
    gpus = devices_a_trial(params) if device == "cuda" else 0
    needs = WorkerRequirements(cores=cores_a_trial(params), gpus=gpus)
    opened = _dask_or_ray(request, workers, needs)
    with open_contract() as contract, opened as cluster:
        slots = cluster.slots if request.engine_address else workers
        yield OpenEngine(ClusterEngine(cluster, contract), request.workers or slots, device)


def _dask_or_ray(
    request: Request, workers: int, needs: WorkerRequirements
) -> contextlib.AbstractContextManager[Cluster]:
    if request.engine == "dask":
        from flows.engines.dask_cluster import dask_cluster  # noqa: PLC0415 - an extra

        return dask_cluster(request.engine_address, workers=workers, needs=needs)
    from flows.engines.ray_cluster import ray_cluster  # noqa: PLC0415 - an extra

    return ray_cluster(request.engine_address, workers=workers, needs=needs)


def workers_for(params: Params, request: Request, device: Device) -> int:
    """Return how many trials run at the same time.

    The number asked for, else as many as the cores (or the GPUs) of this machine allow.
    """
    if request.workers is not None:
        return request.workers
    if device == "cuda":
        return max(1, len(cuda_devices()) // devices_a_trial(params))
    return max(1, usable_cores() // cores_a_trial(params))


def cores_a_trial(params: Params) -> int:
    """Return the cores of the largest trial of the search: its threads on each of its devices."""
    return _most(params, "threads") * devices_a_trial(params)


def devices_a_trial(params: Params) -> int:
    """Return the devices, each with a process, of the largest trial of the search."""
    return _most(params, "devices")


def _most(params: Params, field: str) -> int:
    return max(int(value) for value in _values(params, field) if isinstance(value, int | float))


def _values(params: Params, field: str) -> list[JsonValue]:
    values: list[JsonValue] = [getattr(params.trial, field)]
    # An axis replaces the base value.
    return list(params.search.extremes.get(field, values))
