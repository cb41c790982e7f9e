"""The weights that a retraining begins with: looked up once, before its first trial.

Light to import: the registry is asked only where `trial.start` names weights.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flows.datasets.current import PREPARED, DatasetVersion, manifest_of, prepared_is_current
from flows.retraining.decide import misses_weights, params_digest
from flows.search.search import Search, open_prepared_search
from models.config import Params, Record, read_record
from models.config.start import PRETRAINED
from models.datasets.by_id import among
from models.datasets.prepared import open_split, read_manifest
from models.files import write_text
from models.networks.network import Network
from models.trials import Device

if TYPE_CHECKING:
    from flows.registry.starting import Start

log = logging.getLogger(__name__)

BEGAN = Path("mlruns/began.json")
"""With which weights the last retraining that names any began; gone once it is completed."""


class Began(Record):
    """The weights that a retraining began with."""

    params: str
    """Digest of its params."""
    parent: str
    """In words."""
    weights: str


def check_start_named(params: Params) -> None:
    """Refuse a `trial.start` that names nothing, before anything is begun.

    Asks what costs next to nothing: a file's existence, the registry's database; and whether
    weights come with the network at all. Raises as `check_start`.
    """
    start, network = params.trial.start, params.trial.network
    without = type(network).pretrained_file is Network.pretrained_file
    if misses_weights(params) or (start and start.origin == PRETRAINED and without):
        _check_named(params)


def check_start(params: Params) -> None:
    """Look up `trial.start` before the engine, Prefect's server and a new preparation of the data.

    Its networks and classes are checked, too, where the data is prepared. Imports MLflow and torch.
    Raises as `resolve_start` does.
    """
    if not params.trial.asks_for_weights:
        return
    if prepared_is_current(params.data):
        from flows.registry.starting import resolve_start  # noqa: PLC0415 - MLflow and torch

        resolve_start(params, read_manifest(PREPARED))
    else:
        _check_named(params)


def _check_named(params: Params) -> None:
    from flows.registry.starting import check_named  # noqa: PLC0415 - MLflow and torch

    check_named(params)


def find_start(params: Params, dataset: DatasetVersion) -> "Start | None":
    """Look up `trial.start` for a prepared dataset, and say what was found; None: it is null.

    Raises as `resolve_start` does.
    """
    if not params.trial.asks_for_weights:
        return None
    from flows.registry.starting import resolve_start  # noqa: PLC0415 - MLflow and torch

    start = resolve_start(params, manifest_of(dataset))
    if start is None:
        return None
    log.info("trials begin with %s, weights %s", start.parent.called, start.parent.weights[:12])
    _note_beginning(start, params_digest(params))
    _warn_of_seen(start, dataset)
    return start


def open_started_search(params: Params, device: Device, *, again: bool = False) -> Search | None:
    """Open the search on data/prepared/ with `trial.start` looked up, as `open_prepared_search`."""
    if params.trial.asks_for_weights and prepared_is_current(params.data):
        from flows.registry.starting import resolve_start  # noqa: PLC0415 - MLflow and torch

        start = resolve_start(params, read_manifest(PREPARED))
        params = start.given_to(params) if start else params
    return open_prepared_search(params, device, again=again)


def forget_beginning() -> None:
    """Note that the retraining that began last is completed."""
    BEGAN.unlink(missing_ok=True)


def _note_beginning(start: "Start", params: str) -> None:
    """Write down what a retraining begins with, and say so where an interrupted one had another.

    Trials are found by the weights they began with; those of another champion are other trials.
    """
    before = read_record(BEGAN, Began)
    now = Began(params=params, parent=start.parent.called, weights=start.parent.weights)
    if before is not None and before.params == params and before.weights != now.weights:
        log.warning(
            "the last retraining with these params was not completed and began with %s; "
            "trial.start.from is %s by now, so that its trials do not count. They are kept: name "
            "the former in trial.start.from to go on with them",
            *(before.parent, now.parent),
        )
    write_text(BEGAN, now.model_dump_json(indent=2) + "\n")


def _warn_of_seen(start: "Start", dataset: DatasetVersion) -> None:
    """Say before training what the gate will refuse after it."""
    ids = open_split(dataset.prepared, "test", verify=False).ids
    if start.parent.origin == PRETRAINED:
        return  # by others, on none of these images as far as anyone knows
    if start.trained_ids is None:
        log.warning(
            "trial.start: what %s was trained on is not known; if it saw test images, their scores "
            "are too good, and the gate cannot tell",
            start.parent.origin,
        )
    elif seen := int(np.count_nonzero(among(ids, start.trained_ids))):
        log.warning(
            "trial.start: %s of the %s test images were seen by %s: the gate will promote nothing "
            "that begins with it, until the test split has none of them",
            *(f"{seen:,}", f"{len(ids):,}", start.parent.called),
        )
