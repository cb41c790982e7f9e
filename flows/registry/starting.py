"""Find the weights that `trial.start` names, and what is known of them."""

import contextlib
import filecmp
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.records.champion import MLFLOW_DATABASE, WEIGHTS_TAG, is_own_database
from flows.records.lineage import Parent
from flows.registry.listing import all_versions
from flows.registry.loading import VersionFiles, open_version
from flows.registry.networks import WEIGHTS
from flows.registry.records import EXTRAS
from flows.tracking.store import open_tracking
from models.config import Params, TrialConfig
from models.config.data import ImageForm
from models.config.space import axis_points
from models.config.start import PRETRAINED, StartConfig
from models.datasets.prepared import Manifest
from models.errors import ConfigError, InputError, IntegrityError
from models.files import replacing
from models.search.proposals import make_proposal
from models.search.search_space import search_space
from models.training.starting import ParentWeights, check_fits, head_fits, read_parent
from models.trials import TrialFiles


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The weights that the trials of a search begin with."""

    config: StartConfig
    """Of `trial.start`, with nothing left to be looked up."""
    file: Path
    """.safetensors file that holds them."""
    parent: Parent
    trained_ids: NDArray[np.uint8] | None
    """Ids of the images that the parent was trained or selected on, its own parents' included,
    (n, 32); None: they are weights of a file that no version has."""
    version: VersionFiles | None
    """That has these weights; None: no version has."""

    def prints_in(self, form: ImageForm) -> NDArray[np.uint8] | None:
        """Prints of these images, (m, 32), if the parent took them in this form; else None."""
        if self.version is None or self.version.lineage.image_form != form:
            return None
        return self.version.trained_prints

    def given_to(self, params: Params) -> Params:
        """Return the params with the weights looked up."""
        trial = params.trial.model_copy(update={"start": self.config})
        return params.model_copy(update={"trial": trial})


def resolve_start(params: Params, manifest: Manifest) -> Start | None:
    """Look up the weights of `trial.start` and check them against every network of the search.

    manifest: of the prepared data. Returns None where training begins with new weights.
    Raises ConfigError where nothing is found, where the weights are not those that
    `trial.start.weights` gives, or where a network that the search may choose does not take them;
    InputError for a file that holds no weights; as `open_version` does.
    """
    params = _with_pretrained(params)
    asked = params.trial.start
    if asked is None:
        return None
    found = _find_named(params, asked)
    parent = found.parent
    known = found.version is not None or asked.origin == PRETRAINED
    version = found.version if known else version_with(parent.digest)
    start = Start(
        config=_filled(params, manifest, parent, version),
        file=found.file,
        parent=_described(asked, parent, version),
        trained_ids=version.trained_ids if version else None,
        version=version,
    )
    _check_networks(start.given_to(params), manifest, parent)
    return start


def check_named(params: Params) -> None:
    """Look up the weights of `trial.start` as far as that needs no data.

    Raises as `resolve_start` does, but for networks and classes, which are checked against data.
    """
    params = _with_pretrained(params)
    if params.trial.start is not None:
        _find_named(params, params.trial.start)


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """Weights that a start names."""

    file: Path
    parent: ParentWeights
    version: VersionFiles | None
    """That was named; None: a file was, or what comes with the network."""


def _find_named(params: Params, asked: StartConfig) -> _Named:
    pretrained = asked.origin == PRETRAINED
    version = None if pretrained or asked.where.file else _open_named(params, asked)
    file = weights_file(version) if version else Path(asked.where.file or "")
    file = params.trial.network.pretrained_file() if pretrained else file
    parent = read_parent(file)
    if asked.weights not in (None, parent.digest):
        raise ConfigError(
            f"trial.start.weights: {asked.weights} is asked for, {asked.origin} has "
            f"{parent.digest}; name the version that has these, or leave trial.start.weights out"
        )
    return _Named(file, parent, version)


def _with_pretrained(params: Params) -> Params:
    """Let `network.pretrained` be the start that it stands for."""
    if not params.trial.network.is_pretrained or params.trial.start is not None:
        return params
    start = StartConfig(origin=PRETRAINED, layers="backbone")
    trial = params.trial.model_copy(update={"start": start})
    return params.model_copy(update={"trial": trial})


def version_with(weights: str) -> VersionFiles | None:
    """Open a version, of any registered name, whose weights have this digest; None: there is none.

    An imported version has the digest that it had where it was made.
    """
    if is_own_database() and not MLFLOW_DATABASE.exists():
        return None
    found = [
        record
        for record in all_versions(open_tracking("any"))
        if record.tags.get(WEIGHTS_TAG) == weights
    ]
    if not found:
        return None
    return open_version(open_tracking(found[0].name), found[0].version)


def find_weights(digest: str, *kept: Path) -> Path:
    """Return a .safetensors file with the weights of a digest: one of those kept, or a version's.

    Raises IntegrityError where there is none.
    """
    for path in kept:
        with contextlib.suppress(InputError):
            if read_parent(path).digest == digest:
                return path
    version = version_with(digest)
    if version is None:
        raise IntegrityError(
            f"the weights {digest[:12]} that its training began with are gone, in the trial store "
            "as in the registry; `pitchpipe import` the version that has them"
        )
    return weights_file(version)


def place_start(file: Path, directory: Path) -> None:
    """Copy the weights into the directory of a trial that begins with them.

    What is there already and is not the file, byte for byte, is replaced: it may be damaged.
    """
    target = directory / TrialFiles.START
    if not target.is_file() or not filecmp.cmp(file, target, shallow=False):
        with replacing(target) as temporary:
            shutil.copyfile(file, temporary)


def weights_file(files: VersionFiles) -> Path:
    """Path of a version's weights. Raises ConfigError where it has none of its own."""
    path = files.directory / EXTRAS / WEIGHTS
    if not path.is_file():
        raise ConfigError(
            f"trial.start: {files.called} has no weights that another training can begin with: an "
            "earlier release registered it, or its network is none of ours; `pitchpipe run` makes "
            "a new version"
        )
    return path


def _open_named(params: Params, asked: StartConfig) -> VersionFiles:
    where = asked.where
    tracking = open_tracking(where.name or params.registered_name)
    try:
        return open_version(tracking, where.version)
    except ConfigError as error:
        raise ConfigError(
            f"trial.start.from {asked.origin}: {error}. The first training of a name begins with "
            "new weights: pass --set trial.start=null, or name another's, as NAME@champion"
        ) from error


def _filled(
    params: Params, manifest: Manifest, parent: ParentWeights, version: VersionFiles | None
) -> StartConfig:
    """Return `trial.start` with the weights' digest, normalisation, and whether the head fits."""
    assert params.trial.start is not None
    own = params.trial.network.pretrained_statistics(manifest.channels) or (None, None)
    mean, std = (parent.mean, parent.std) if parent.mean is not None else own
    classes = version.lineage.classes if version else manifest.classes
    fits = classes == manifest.classes and head_fits(params.trial, manifest, parent.shapes)
    _refuse_equal_trials(params, fits=fits)
    return params.trial.start.model_copy(
        update={
            "weights": parent.digest,
            "mean": params.trial.start.mean or mean,
            "std": params.trial.start.std or std,
            "head_fits": fits,
        }
    )


def _refuse_equal_trials(params: Params, *, fits: bool) -> None:
    if not fits and {"all", "backbone"} <= set(params.search.extremes.get("start.layers", ())):
        raise ConfigError(
            "search.axes.start.layers: the classes are not the parent's, so that the head is new "
            "with `all` as with `backbone`; drop one of them"
        )


def _described(asked: StartConfig, parent: ParentWeights, version: VersionFiles | None) -> Parent:
    record = version.record if version else None
    return Parent(
        origin=str(asked.origin),
        name=record.name if record else None,
        version=record.version if record else None,
        weights=parent.digest,
    )


def _check_networks(params: Params, manifest: Manifest, parent: ParentWeights) -> None:
    """Raise ConfigError, with layer and shapes, for the first network that does not take them."""
    checked: set[str] = set()
    for config in _configs(params):
        network = config.network.model_dump_json() + str(config.begins_with)
        if config.begins_with is not None and network not in checked:
            check_fits(config, manifest, parent.shapes)
            checked.add(network)


def _configs(params: Params) -> Iterator[TrialConfig]:
    """Yield configs of the search, and of a range both ends, which no draw may come to."""
    for _, _, point in axis_points(params.search.extremes):
        with contextlib.suppress(ConfigError):  # what no trial can have is refused elsewhere
            yield make_proposal(params, point).config
    for proposal in search_space(params):
        yield proposal.config
