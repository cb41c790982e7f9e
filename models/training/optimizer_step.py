"""Optimiser steps: schedule, clipping, and the running mean of weights."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.config import TrialConfig
from models.config.schedules import learning_rate_factor
from models.training.checkpoint import TrainingState, Weights


class Stepper:
    """Moves a network's weights; its state is the optimiser's and the running mean's."""

    def __init__(
        self, config: TrialConfig, network: nn.Module, state: TrainingState | None
    ) -> None:
        self._config = config
        self._reduction = 1.0
        self._parameters = dict(network.named_parameters())
        # Means and variances of batch normalisation belong to the weights they were seen with.
        statistics = {
            name: value for name, value in network.named_buffers() if value.is_floating_point()
        }
        self._averaged: dict[str, Tensor] = {**self._parameters, **statistics}
        self.optimizer = config.optimizer.build(self._parameters.values())
        if state is not None:
            self.optimizer.load_state_dict(state.optimizer)
        self._average = self._first_average(state) if config.ema_decay else None

    @property
    def average(self) -> Weights | None:
        """Running mean of weights and of normalisations' statistics; None where none is kept."""
        return self._average

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def reduce_rate(self, losses: Sequence[float]) -> None:
        """Let the schedule see the validation loss of each epoch so far, before the next one."""
        self._reduction = self._config.schedule.reduction(losses)

    def step(self, number: int, *, steps_per_epoch: int) -> None:
        """Take step `number`, counted from 0 over all epochs, and clear the gradients."""
        config = self._config
        factor = learning_rate_factor(config.schedule, number, steps_per_epoch=steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * factor * self._reduction
        if config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._parameters.values(), config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            # A short memory at first, as long as the decay's later: no bias to the first weights.
            decay = min(config.ema_decay, (1 + number) / (10 + number))
            for average, current in self._pairs():
                average.lerp_(current.detach(), 1 - decay)

    def make_state(self) -> None:
        """Let the optimiser make now what it otherwise makes at its first step, moving no weight.

        Every optimiser of torch's begins with zeros, or has made its state already.
        """
        state = self.optimizer.state
        weights = [one.detach().clone() for one in self._parameters.values()]
        made = {id(one): one.clone() for one in _tensors(state.values())}
        for one in self._parameters.values():
            one.grad = torch.zeros_like(one) if one.requires_grad else None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for one, before in zip(self._parameters.values(), weights, strict=True):
            one.data.copy_(before)
        for made_now in _tensors(state.values()):
            known = made.get(id(made_now))
            made_now.zero_() if known is None else made_now.copy_(known)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Everything that a step changes beside the network: optimiser's state and running mean."""
        return (*_tensors(self.optimizer.state.values()), *(self._average or {}).values())

    def swap(self) -> None:
        """Exchange weights and running mean; a second time undoes it."""
        if self._average is not None:
            for average, current in self._pairs():
                average.data, current.data = current.data, average.data

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        average = self._average or {}
        return [(average[name], current) for name, current in self._averaged.items()]

    def _first_average(self, state: TrainingState | None) -> Weights:
        known = state.average if state is not None else None
        average = {name: value.detach().clone() for name, value in self._averaged.items()}
        for name, value in (known or {}).items():
            average[name].copy_(value)
        return average


def _tensors(states: Iterable[Mapping[str, object]]) -> list[Tensor]:
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]
