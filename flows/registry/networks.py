"""A version's network, without code from its files: built again from its config, or the export.

Our own commands build the network that the lineage names and fill it with the version's weights, so
nothing of `model.pt2` is read; that is for readers without pitchpipe. A version has no weights of
its own where an earlier release registered it, or where its network is none of `models.networks`.
"""

import io
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.records.lineage import Lineage
from flows.registry.records import EXTRAS, LINEAGE, read_extra
from flows.registry.safety.files import checked_archive
from models.errors import IntegrityError, MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

WEIGHTS, ANSWERS = "weights.safetensors", "answers.npy"
"""Of the network as it is served; what it says of `check_images`, float32 (3, classes)."""
CLOSE = 1e-4
"""Probabilities of one network on two machines differ by less: float32, other sums."""


def load_network(directory: Path) -> "nn.Module":
    """Make the network of checked files, in evaluation mode.

    It is built again where its weights are there and it answers as it did when it was registered;
    code that changed since may build another, and then the export is loaded.
    Raises IntegrityError where there is no network in the files that this torch can load.
    """
    if (directory / EXTRAS / WEIGHTS).is_file():
        lineage = read_extra(Lineage, directory, LINEAGE, whose=str(directory))
        try:
            network = build_again(directory, lineage)
        except MissingExtraError as error:
            log.info("%s: its export is used: %s", directory, error)
            return load_exported(directory)
        if answers_as_registered(network, directory, lineage):
            return network
        log.warning(
            "%s: today's code builds another network of its config; its export is used", directory
        )
    return load_exported(directory)


def load_exported(directory: Path) -> "nn.Module":
    """Load model.pt2, whose bytes are checked once more, without executing anything in it.

    Raises IntegrityError where there is no network in it that this torch can load.
    """
    content = checked_archive(directory)
    import torch  # noqa: PLC0415 - two seconds that listing and moving versions need not wait for

    try:
        network: nn.Module = torch.export.load(io.BytesIO(content)).module()
    # torch raises nearly anything on archives that are damaged or of another torch.
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise IntegrityError(
            f"{directory}: its network cannot be loaded ({reason[0]}); `pitchpipe rollback`, or "
            "make a new version with `pitchpipe run`"
        ) from error
    return network


def build_again(directory: Path, lineage: Lineage) -> "nn.Module":
    """Build the network of a lineage's config and fill it with the weights in a version's files.

    Raises MissingExtraError where the network needs a package that is not installed,
    IntegrityError where they are no weights of that network; a config that claims a larger
    one than the file holds takes no memory.
    """
    import safetensors.torch  # noqa: PLC0415 - imports torch
    import torch  # noqa: PLC0415

    from models.networks.serving import ServingNetwork  # noqa: PLC0415

    channels, side, _ = lineage.image_shape
    try:
        weights = safetensors.torch.load((directory / EXTRAS / WEIGHTS).read_bytes())
        with torch.device("meta"):
            network = lineage.spec.config.network.build(
                channels=channels,
                image_size=side,
                classes=len(lineage.classes),
            )
            serving = ServingNetwork(
                network,
                mean=[0.0] * channels,
                std=[1.0] * channels,
                temperature=lineage.calibration.temperature if lineage.calibration else None,
                mirror=lineage.flips == "horizontal",
            ).eval()
        _check_shapes(serving, weights, lineage)
        serving.to_empty(device="cpu").load_state_dict(weights)
    except MissingExtraError:
        raise
    # Of a crafted config or file: what torch and safetensors raise is not one kind of error.
    except Exception as error:
        raise IntegrityError(
            f"{directory}: {WEIGHTS} does not hold the weights of its config's network ({error}); "
            "`pitchpipe rollback`, or make a new version with `pitchpipe run`"
        ) from error
    return serving


def write_weights(directory: Path, serving: "nn.Module", shape: tuple[int, int, int]) -> bool:
    """Write what `build_again` needs; False for a network that `models.networks` does not build.

    shape: channels, height, width of an image.
    """
    import safetensors.torch  # noqa: PLC0415 - imports torch

    from models.networks.serving import ServingNetwork  # noqa: PLC0415

    if not isinstance(serving, ServingNetwork):
        return False
    weights = {name: tensor.contiguous() for name, tensor in serving.state_dict().items()}
    (directory / EXTRAS / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    answers = predict(serving, check_images(3, shape))
    np.save(directory / EXTRAS / ANSWERS, answers, allow_pickle=False)
    return True


def answers_as_registered(network: "nn.Module", directory: Path, lineage: Lineage) -> bool:
    """Whether a network says of the images to check by what it said when it was registered."""
    path = directory / EXTRAS / ANSWERS
    try:
        expected = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(
            f"{directory}: has no readable {ANSWERS} ({error}); `pitchpipe rollback`, or make a "
            "new version with `pitchpipe run`"
        ) from error
    found = predict(network, check_images(3, lineage.image_shape))
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=0, atol=CLOSE))


def check_images(count: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Images that are the same in every release of everything; (count, *shape), shape (c, h, w)."""
    numbers = np.arange(count * math.prod(shape), dtype=np.uint64)
    # Knuth's multiplicative hash; NumPy's generators may draw other numbers one day.
    hashes = (numbers * np.uint64(2654435761)) >> np.uint64(16)
    return hashes.astype(np.uint8).reshape(count, *shape)


def predict(network: "nn.Module", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (n, classes) of images (n, channels, height, width)."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        probabilities: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
    return probabilities


def _check_shapes(network: "nn.Module", weights: "dict[str, Tensor]", lineage: Lineage) -> None:
    _, height, width = lineage.image_shape
    if height != width:
        raise ValueError(f"images of {height} x {width} pixels")
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    given = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
    strange = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if strange:
        raise ValueError(f"other names, types or shapes: {', '.join(strange[:3])}")
