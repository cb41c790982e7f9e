"""Sections of params.yaml that set policies: gate, drift, evaluation, notify, retention, ..."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.record import Record

DRIFT_TESTS = 5
"""Tests of a report, among which `significance` is divided."""


class DriftParams(Record):
    """How images are compared with the validation split."""

    significance: float = Field(0.05, gt=0, le=0.5)
    """Rate of false alarms: share of reports on unchanged images that may say drift."""
    minimum_images: int = Field(50, ge=20)
    """Fewest images that are compared, of either side."""
    most_images: int = Field(10_000, ge=100)
    """Most images that are compared, of either side; of more, a sample chosen by their content."""
    permutations: int = Field(999, ge=99, le=100_000)
    """Shuffles behind a p-value whose test has no exact one; the smallest is 1 / (these + 1)."""
    seed: int = Field(0, ge=0)
    """Of the shuffles, together with the content of the images."""

    @model_validator(mode="after")
    def _can_alarm(self) -> Self:
        if self.significance / DRIFT_TESTS * (self.permutations + 1) < 1:
            raise ValueError(
                f"{self.permutations} permutations give no p-value below significance / "
                f"{DRIFT_TESTS}, so that nothing would ever be drift: raise permutations"
            )
        return self


class EvaluationParams(Record):
    """How the selected trial is evaluated."""

    calibration_bins: int = Field(15, ge=2, le=100)
    """Equal-width confidence bins of the expected calibration error."""
    mistakes: int = Field(24, ge=1, le=200)
    """Most confident mistakes shown in the report."""


Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
"""The gate's verdict on a challenger."""


class GateParams(Record):
    """Absolute floors, and the evidence required against the champion."""

    accuracy_over_majority: float = Field(0.1, ge=0, le=1)
    """Lowest test accuracy, as a share of the way from the majority class's accuracy up to 1."""
    accuracy: float | None = Field(None, ge=0, le=1)
    """Lowest test accuracy, whatever the majority class; null: none."""
    f1_macro: float | None = Field(0.1, ge=0, le=1)
    """Lowest macro F1 on test; null: none."""
    class_recall: float | None = Field(0.01, ge=0, le=1)
    """Lowest recall of any class with at least `class_images` test images; null: none."""
    class_images: int = Field(30, ge=1)
    """Fewest test images of a class for which `class_recall` applies."""
    ece: float | None = Field(0.3, ge=0, le=1)
    """Highest calibration error on test; null: none."""
    weights_megabytes: float | None = Field(500.0, gt=0)
    """Largest weights, in millions of bytes; null: any."""
    latency_ms: float | None = Field(None, gt=0)
    """Longest latency, in milliseconds; null: any, and none is measured. Latency is the median of
    200 single-image predictions of the exported network on one CPU thread, after a warm-up, in the
    process that judges. It depends on the machine and its load, so that the same versions may get
    another verdict elsewhere; the champion's is measured beside it and shown."""
    significance: float = Field(0.05, gt=0, lt=1)
    """Level of the two-sided tests against the champion: half of it for better, half for worse."""
    minimum_effect: float = Field(0.002, ge=0, le=1)
    """Smallest lead in test accuracy that justifies a change of champion."""
    f1_macro_margin: float = Field(0.005, ge=0, le=1)
    """Loss of macro F1 that must not be exceeded significantly."""
    cross_entropy_margin: float = Field(0.02, ge=0)
    """Rise of cross-entropy, in nats, that must not be exceeded significantly."""
    class_recall_margin: float = Field(0.05, ge=0, le=1)
    """Loss of recall that must not be exceeded significantly in any class."""
    resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap samples behind macro F1 and cross-entropy."""
    approval: Literal["automatic", "manual"] = "automatic"
    """manual: a challenger that passed the gate awaits `pitchpipe approve`."""


class InboxParams(Record):
    """Where deliveries are looked for, and when one is whole."""

    path: str = Field("data/inbox", min_length=1)
    """Folder, from the project's root; deliveries lie in <path>/<dataset>/."""
    settle_seconds: float = Field(10.0, ge=0)
    """Seconds for which nothing in a delivery may have changed before it is taken."""


NotifiedEvent = Literal["promote", "hold", "reject", "await", "failure"]


class NotifyParams(Record):
    """A webhook that is told how retrainings end; off unless `webhook_variable` is set."""

    webhook_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    """Environment variable that holds the webhook's URL, which is a secret and never stands in
    params, such as PITCHPIPE_WEBHOOK_URL; null: nobody is told."""
    events: tuple[NotifiedEvent, ...] = ("promote", "hold", "reject", "await", "failure")
    """Ends worth telling. await: the gate passed a version, and `pitchpipe approve` is awaited;
    failure: the retraining came to no verdict."""
    timeout_seconds: float = Field(5.0, gt=0, le=60)
    """Longest wait for the webhook, each time."""
    attempts: int = Field(3, ge=1, le=10)
    """Times that the webhook is tried, with 1, 2, 4... seconds in between."""


class RetentionParams(Record):
    """What `pitchpipe gc` removes. null: nothing for that reason.

    Whatever these say, it leaves alone what a version, the ledger or a running process needs.
    """

    trials_days: float | None = Field(90.0, gt=0)
    """Days after which a trial that nothing wrote to goes."""
    trials_bytes: int | None = Field(None, ge=0)
    """Most bytes of the whole trial store; beyond it the worst go, unfinished and failed first."""
    keep_best: int = Field(20, ge=0)
    """Best trials of each dataset by validation, which stay whatever their age and size."""
    runs_days: float | None = Field(180.0, gt=0)
    """Days after its end that MLflow shows a retraining, its trials' runs and their artifacts;
    after it was last asked for, that a drift report stays."""
    flow_runs_days: float | None = Field(30.0, gt=0)
    """Days after its end that Prefect shows a flow run, its task runs, logs and artifacts."""
    copies_days: float | None = Field(30.0, gt=0)
    """Days after its last use that a local copy of a version with remote artifacts stays."""


class RetrainingParams(Record):
    """Limits on retrainings that schedules and triggers ask for; `pitchpipe run` has none."""

    cool_down_hours: float = Field(0.0, ge=0, le=24 * 366)
    """Least time between the end of a retraining and the start of the next, in hours; 0: none."""
    per_day: int | None = Field(None, ge=1)
    """Most retrainings that end within any 24 hours, however they end; null: any number."""
    hours_per_week: float | None = Field(None, gt=0)
    """Retraining time within any 7 days, in hours, after which no more is begun; null: any."""
