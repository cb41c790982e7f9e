"""Mixing of training images with one another: each carries two labels."""

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from models.record import Record

if TYPE_CHECKING:
    from torch import Tensor


class Mixed(NamedTuple):
    """Images, each made of two."""

    images: "Tensor"
    """(n, channels, height, width), uint8 or float32, in units of uint8."""
    labels: "Tensor"
    """(n,), of the image whose share is `share`."""
    others: "Tensor"
    """(n,), of the image whose share is the rest."""
    share: float
    """In [0.5, 1]: weight of `labels` in the loss."""


class NoMixing(Record):
    """Each image by itself."""

    name: Literal["none"] = "none"

    def mix(self, images: "Tensor", labels: "Tensor", seed: int) -> Mixed:  # noqa: ARG002 - as others
        """Leave images and labels as they are."""
        return Mixed(images, labels, labels, 1.0)


class _Mixing(Record):
    alpha: float = Field(0.2, gt=0, le=10)
    """Both parameters of the Beta distribution that the share is drawn from."""

    def _drawn(self, count: int, seed: int) -> tuple[float, "Tensor"]:
        """Draw a share, at least 1/2, and the partner of each image."""
        import numpy as np  # noqa: PLC0415 - see Augmentation
        import torch  # noqa: PLC0415 - see Augmentation

        source = np.random.default_rng(seed)
        share = float(source.beta(self.alpha, self.alpha))
        return max(share, 1 - share), torch.from_numpy(source.permutation(count))


class Mixup(_Mixing):
    """Means of two images, weighted by a random share (Zhang et al., 2018)."""

    name: Literal["mixup"] = "mixup"

    def mix(self, images: "Tensor", labels: "Tensor", seed: int) -> Mixed:
        """Mix each image of a minibatch with another of it; the seed decides with which."""
        share, partners = self._drawn(len(images), seed)
        floats = images.float()
        mixed = share * floats + (1 - share) * floats[partners]
        return Mixed(mixed, labels, labels[partners], share)


class Cutmix(_Mixing):
    """A rectangle of each image replaced by that of another (Yun et al., 2019)."""

    name: Literal["cutmix"] = "cutmix"
    alpha: float = Field(1.0, gt=0, le=10)
    """Both parameters of the Beta distribution that the area's share is drawn from."""

    def mix(self, images: "Tensor", labels: "Tensor", seed: int) -> Mixed:
        """Put the same rectangle of another image into each; the seed decides of which."""
        import numpy as np  # noqa: PLC0415 - see Augmentation

        share, partners = self._drawn(len(images), seed)
        height, width = images.shape[2:]
        rows, columns = (int(length * (1 - share) ** 0.5) for length in (height, width))
        source = np.random.default_rng([seed, 1])
        top, left = (int(source.integers(limit + 1)) for limit in (height - rows, width - columns))
        cut = (..., slice(top, top + rows), slice(left, left + columns))
        mixed = images.clone()
        mixed[cut] = images[partners][cut]
        return Mixed(mixed, labels, labels[partners], 1 - rows * columns / (height * width))


MixingConfig = Annotated[NoMixing | Mixup | Cutmix, Field(discriminator="name")]
