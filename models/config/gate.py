"""`gate:` in params.yaml: what a challenger must show before it serves."""

from typing import Literal

from pydantic import Field

from models.config.base import Record

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
"""What the gate says of a challenger."""


class GateParams(Record):
    """Absolute floors, and what must and must not be shown against the champion."""

    accuracy_over_majority: float = Field(0.1, ge=0, le=1)
    """Share of the way from the majority class's accuracy up to 1 that must have been gone."""
    accuracy: float | None = Field(None, ge=0, le=1)
    """Lowest test accuracy, whatever the majority class; null: none."""
    f1_macro: float | None = Field(0.1, ge=0, le=1)
    """Lowest macro F1 on test; null: none."""
    class_recall: float | None = Field(0.01, ge=0, le=1)
    """Lowest recall of any class with at least `class_images` test images; null: none."""
    class_images: int = Field(30, ge=1)
    """Test images below which a class's recall is left to chance, not held to `class_recall`."""
    ece: float | None = Field(0.3, ge=0, le=1)
    """Highest calibration error on test; null: none."""
    weights_megabytes: float | None = Field(500.0, gt=0)
    """Largest weights, in millions of bytes; null: any."""
    latency_ms: float | None = Field(None, gt=0)
    """Longest time of one image, in milliseconds; null (not deterministic, so off): any."""
    significance: float = Field(0.05, gt=0, lt=1)
    """Of the two-sided tests against the champion: half of it for better, half for worse."""
    minimum_effect: float = Field(0.002, ge=0, le=1)
    """Smallest lead in test accuracy that is worth a change of champion."""
    f1_macro_margin: float = Field(0.005, ge=0, le=1)
    """Loss of macro F1 that must not be shown to be exceeded."""
    cross_entropy_margin: float = Field(0.02, ge=0)
    """Rise of cross-entropy, in nats, that must not be shown to be exceeded."""
    class_recall_margin: float = Field(0.05, ge=0, le=1)
    """Loss of recall that must not be shown to be exceeded in any class."""
    resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap samples behind macro F1 and cross-entropy."""
    approval: Literal["automatic", "manual"] = "automatic"
    """manual: a challenger that passed waits for `pitchpipe approve`."""
