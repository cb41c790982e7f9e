"""Any model of timm, PyTorch Image Models (Wightman, 2019); an extra.

timm is imported where a network is built, as torch is. Its names of weights are ours, so that
`trial.start` may name a file that timm wrote.
"""

import difflib
import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.errors import ConfigError, MissingExtraError, UnreachableError
from models.networks.network import Network, Statistics

if TYPE_CHECKING:
    from torch import nn

_INSTALL = "`make install EXTRAS=timm` in the checkout of pitchpipe installs it"


class TimmConfig(Network):
    """Model of timm, with new weights or with those that it was trained to before."""

    name: Literal["timm"] = "timm"
    model: str = Field("resnet18", pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")
    """Name in timm, with or without the tag of its pretrained weights."""
    pretrained: bool = False
    """Begin with timm's weights but for the head, and normalise as they ask: from the Hugging Face
    cache, else from its hub. For a file or a version of yours leave this and use `trial.start`."""
    freeze: str = Field("none", pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")
    """Layers that are not trained, and whose normalisation is not moved. none; head_only: all but
    the head; else the name of the first block that is trained, such as layer4."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Raise ConfigError for a model that this timm does not have, or not for such images."""
        from models.networks.freezing import freeze  # noqa: PLC0415 - see Network

        timm = import_timm()
        known = self._pretrained_cfg(timm)
        size = {"img_size": image_size} if known is not None and known.fixed_input_size else {}
        try:
            network: nn.Module = timm.create_model(
                self.model,
                num_classes=classes,
                in_chans=channels,
                drop_rate=self.dropout,
                **size,
            )
        except (AssertionError, TypeError, ValueError) as error:
            raise ConfigError(
                f"trial.network.model {self.model}: timm cannot build it for images of "
                f"{image_size} pixels ({error}); change data.image_size, or choose another"
            ) from error
        for module in network.modules():
            if hasattr(module, "inplace"):  # the export's list of operators has none that overwrite
                module.inplace = False  # type: ignore[assignment] # of any layer
        head: nn.Module = network.get_classifier()  # type: ignore[operator] # every model has it
        freeze(network, self.freeze, head=head)
        return network

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where timm is not installed; what fits is seen when it is built."""
        del image_size
        if importlib.util.find_spec("timm") is None:
            raise ValueError(f"network timm is an extra that is not installed; {_INSTALL}")

    @property
    def shares_statistics(self) -> bool:
        """Most of them have batch normalisation."""
        return True

    @property
    def is_pretrained(self) -> bool:
        """Whether it begins with timm's weights."""
        return self.pretrained

    def pretrained_file(self) -> Path:
        """Return the file with timm's weights, from the cache, else from the hub.

        HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are obeyed. Only safetensors are taken.
        Raises ConfigError where there are no such weights, UnreachableError where they are not in
        the cache and the hub does not answer.
        """
        known = self._pretrained_cfg(import_timm())
        if known is None or not known.hf_hub_id:
            raise ConfigError(
                f"trial.network.model {self.model}: timm knows no pretrained weights of it; set "
                "trial.network.pretrained to false, or choose another"
            )
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - of the extra

        try:
            # No revision is asked for: tensors alone are read, and their SHA-256 is in the key.
            file = hf_hub_download(known.hf_hub_id, filename="model.safetensors")  # nosec B615
            return Path(file)
        # Of a cache, a hub and a network; what it raises is not one kind of error.
        except Exception as error:
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise UnreachableError(
                f"trial.network.pretrained: model.safetensors of {known.hf_hub_id} is not in the "
                f"Hugging Face cache and was not downloaded ({reason[0]}); download it once, or "
                "name a .safetensors file in trial.start.from"
            ) from error

    def pretrained_statistics(self, channels: int) -> Statistics | None:
        """Mean and deviation that the model's images were normalised by, of three channels."""
        known = self._pretrained_cfg(import_timm())
        if known is None or channels != len(known.mean):
            return None
        return tuple(map(float, known.mean)), tuple(map(float, known.std))

    def _pretrained_cfg(self, timm: ModuleType) -> "_Cfg | None":
        architecture = self.model.partition(".")[0]
        if not timm.is_model(architecture):
            close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
            hint = f"did you mean {', '.join(close)}? " if close else ""
            raise ConfigError(
                f"trial.network.model {self.model}: timm {timm.__version__} has no such model; "
                f"{hint}`timm.list_models()` names them"
            )
        try:
            known: _Cfg | None = timm.models.get_pretrained_cfg(self.model)
        except RuntimeError as error:
            raise ConfigError(f"trial.network.model {self.model}: {error}") from error
        return known


def import_timm() -> ModuleType:
    """Import timm. Raises MissingExtraError, with the way out, where that fails."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the hub's client is imported
    try:
        import timm  # noqa: PLC0415 - an extra, and seconds
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"network timm needs {error.name}; {_INSTALL}") from error
    # torchvision's wheel beside another build of torch: 'operator torchvision::nms does not exist'.
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"timm cannot be imported ({error}); its torchvision must be of torch's own build: for "
            "a CPU's, `make install TORCH=cpu EXTRAS=timm`"
        ) from error
    module: ModuleType = timm
    return module


if TYPE_CHECKING:
    from timm.models import PretrainedCfg as _Cfg
