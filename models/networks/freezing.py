"""Layers that are not trained: their weights stay, and their normalisation's statistics, too."""

from functools import partial

from torch import nn

from models.errors import ConfigError


def freeze(network: nn.Module, until: str, *, head: nn.Module) -> None:
    """Freeze the layers before a block, in the order in which they are defined.

    until: none, head_only, or the name of the first block that is trained; a frozen layer stays in
    evaluation mode. Raises ConfigError, with the blocks that there are, for another name.
    """
    if until == "none":
        return
    blocks = dict(network.named_modules())
    if until != "head_only" and until not in blocks:
        names = ", ".join(name for name, _ in network.named_children())
        raise ConfigError(
            f"trial.network.freeze {until!r}: is no block of this model; none, head_only, or one "
            f"of: {names}"
        )
    trained = set(head.modules()) | (set() if until == "head_only" else _from(blocks, until))
    for module in blocks.values():
        if module in trained or any(True for _ in module.children()):
            continue
        module.requires_grad_(requires_grad=False)
        module.train = partial(_stay, module)  # of this one alone
        module.eval()
    _freeze_own(blocks, trained)


def _from(blocks: dict[str, nn.Module], until: str) -> set[nn.Module]:
    names = list(blocks)
    return {blocks[name] for name in names[names.index(until) :]}


def _freeze_own(blocks: dict[str, nn.Module], trained: set[nn.Module]) -> None:
    """Freeze parameters that a frozen block has beside its layers, such as a class token."""
    for module in blocks.values():
        if module not in trained:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad = False


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - torch's own
    del mode
    return nn.Module.train(module, mode=False)
