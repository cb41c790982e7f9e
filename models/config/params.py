"""Params: everything one retraining does, validated whole."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from models.config.base import Record
from models.config.data import DataParams
from models.config.policies import (
    DriftParams,
    EvaluationParams,
    GateParams,
    InboxParams,
    NotifyParams,
    RetentionParams,
    RetrainingParams,
)
from models.config.search import SearchParams
from models.config.trial import CnnConfig, TrialConfig


class RegistryParams(Record):
    """Where versions go."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None = None
    """Registered name; null: <data.name>-classifier."""


class Params(Record):
    """What one retraining does."""

    data: DataParams = DataParams()
    trial: TrialConfig = TrialConfig()
    search: SearchParams = SearchParams()
    evaluation: EvaluationParams = EvaluationParams()
    gate: GateParams = GateParams()
    drift: DriftParams = DriftParams()
    inbox: InboxParams = InboxParams()
    registry: RegistryParams = RegistryParams()
    retraining: RetrainingParams = RetrainingParams()
    notify: NotifyParams = NotifyParams()
    retention: RetentionParams = RetentionParams()

    @model_validator(mode="after")
    def _image_survives_the_pools(self) -> Self:
        check_fits(self.trial, image_size=self.data.image_size)
        return self

    @property
    def registered_name(self) -> str:
        """Name that versions are registered under."""
        return self.registry.name or f"{self.data.name}-classifier"


def check_fits(trial: TrialConfig, *, image_size: int) -> None:
    """Raise ValueError where the network's convolutions and pools would leave no pixel."""
    if not isinstance(trial.network, CnnConfig):
        return
    side, depth = image_size, len(trial.network.channels)
    for layer in range(depth):
        side = side - 2 if layer == depth - 1 else (side - 2) // 2
    if side < 1:
        raise ValueError(
            f"images of {image_size} pixels are too small for {depth} convolutions with pools "
            "between them: raise data.image_size or shorten trial.network.channels"
        )
