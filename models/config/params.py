"""Params: all settings of a retraining, validated together."""

from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from models.config.data import DataParams
from models.config.policies import (
    DriftParams,
    EvaluationParams,
    GateParams,
    GuardParams,
    InboxParams,
    NotifyParams,
    RetentionParams,
    RetrainingParams,
)
from models.config.schedules import check_horizon
from models.config.search import SearchParams
from models.config.trial import TrialConfig
from models.record import Record


class RegistryParams(Record):
    """Registration of versions."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None = None
    """Registered name; null: <data.name>-classifier."""


class Params(Record):
    """All settings of one retraining."""

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
    guard: GuardParams = GuardParams()

    @model_validator(mode="after")
    def _images_fit_the_trial(self) -> Self:
        self.trial.network.check_fits(self.data.image_size)
        self.trial.augmentation.check_fits(self.data.image_size)
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        """Weights are looked up once, before the first trial."""
        axes = [axis for axis in self.search.axes if axis.startswith("start.")]
        for axis in axes:
            if axis != "start.layers":
                raise ValueError(
                    f"search.axes.{axis}: all trials of a search begin with the same weights; "
                    "set trial.start, and compare start.layers: [none, backbone, all]"
                )
        network = self.trial.network
        if network.is_pretrained and self.trial.start is not None:
            raise ValueError(
                "trial.network.pretrained and trial.start both name weights; leave one of them out"
            )
        crossing = [
            axis
            for axis in ("network.pretrained", "network.model", "network.name")
            if axis in self.search.axes
        ]
        if crossing and (network.is_pretrained or crossing[0] == "network.pretrained"):
            raise ValueError(
                f"search.axes.{crossing[0]}: all trials of a search begin with the same weights, "
                "and these are of one model; leave the axis out. The axis start.layers: [none, "
                "backbone], with trial.start.from: pretrained, compares with new weights"
            )
        return self

    @model_validator(mode="after")
    def _the_rate_lasts_as_long_as_the_training(self) -> Self:
        """Of an axis each value; a horizon beside an axis of names is examined with each trial."""
        axis = "schedule.horizon"
        horizons: list[tuple[str, JsonValue]]
        if axis in self.search.axes:
            horizons = [(f"search.axes.{axis}", value) for value in self.search.extremes[axis]]
        elif "schedule.name" in self.search.axes:
            horizons = []
        else:
            horizons = [(f"trial.{axis}", self.trial.schedule.horizon)]
        for name, horizon in horizons:
            if isinstance(horizon, int):
                check_horizon(name, horizon, epochs=self.search.epochs)
        return self

    @property
    def registered_name(self) -> str:
        """Name under which versions are registered."""
        return self.registry.name or f"{self.data.name}-classifier"
