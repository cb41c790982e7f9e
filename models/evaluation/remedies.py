"""What to put in the params against overfitting, as lines `key: value` beyond a trial's config."""

from collections.abc import Iterator

from models.config import TrialConfig

_PATIENCE = 3
"""Epochs without a gain that are waited for."""


def less_training(config: TrialConfig, *, kept: int, last: int) -> Iterator[str]:
    """Yield what would have spared the epochs after the kept one; nothing where it is used."""
    if config.early_stopping.patience is None and last - kept > _PATIENCE:
        yield f"trial.early_stopping.patience: {_PATIENCE}"


def loss_as_objective(config: TrialConfig, *, kept: int, lowest: int) -> Iterator[str]:
    """Yield the objective that keeps the epoch of the lowest loss, where another was kept."""
    if config.objective != "cross_entropy" and kept != lowest:
        yield "trial.objective: cross_entropy"


def regularisers(config: TrialConfig) -> Iterator[str]:
    """Yield regularisers: with a first value where the config has none, else that more may help."""
    if config.augmentation.name == "none":
        yield "trial.augmentation.name: affine"
    for path, used, first in (
        ("network.dropout", getattr(config.network, "dropout", None), 0.25),
        ("optimizer.weight_decay", getattr(config.optimizer, "weight_decay", None), 0.0005),
        ("label_smoothing", config.label_smoothing, 0.1),
    ):
        if used is not None:  # None: a network that has no dropout
            yield f"trial.{path}: above {used:g}" if used else f"trial.{path}: {first:g}"


def smaller_networks(config: TrialConfig) -> Iterator[str]:
    """Yield the fields of a network that say how wide it is, halved where that is possible."""
    fields = config.network.model_dump(mode="json")
    for name in ("width", "channels", "hidden_units"):
        value = fields.get(name)
        if isinstance(value, list):
            yield f"trial.network.{name}: {[max(one // 2, 1) for one in value]}"
        elif value is not None and value > 1:
            yield f"trial.network.{name}: {value // 2}"


def more_epochs(epochs: int) -> str:
    """Return twice the epochs that were trained."""
    return f"search.epochs: {2 * epochs}"
