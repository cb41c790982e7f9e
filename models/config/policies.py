"""Sections of params.yaml that set policies: gate, drift, evaluation, notify, retention, ..."""

from string import Template
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from models.config.trial import Objective
from models.record import Record

DRIFT_TESTS = 5
"""Tests of a report, between which the level of a look is divided."""


class DriftParams(Record):
    """How images are compared with the validation split."""

    significance: float = Field(0.05, ge=0.001, le=0.5)
    """Probability, at most, that any of `looks` reports about one version calls unchanged images
    drift: a year of false alarms, not one report's."""
    looks: int = Field(365, ge=1)
    """Reports about one version that `significance` is spent on: half of it on the first, half
    evenly. After so many it is spent once more."""
    minimum_effect: float = Field(0.05, ge=0, lt=1)
    """Smallest shift that is drift: share of the images that must have changed for what is seen, at
    least. One that is shown but smaller is reported as too small to act on."""
    minimum_images: int = Field(50, ge=20)
    """Fewest images that are compared, of either side."""
    window_images: int = Field(1_000, ge=20)
    """Images that a schedule's look compares, if there are so many: new batches, each looked at
    once, and as far as these hold fewer, the newest of those looked at before."""
    most_images: int = Field(10_000, ge=100)
    """Most images that are compared, of either side; of more, a sample chosen by their content."""
    permutations: int = Field(999, ge=99, le=100_000)
    """Shuffles behind the p-value of the class shares. Where fewer than ten of them reach what is
    seen there are more, as many as the level of the look asks for."""
    seed: int = Field(0, ge=0)
    """Of the shuffles, together with the content of the images."""


Flips = Literal["none", "horizontal"]


class EvaluationParams(Record):
    """How the selected trial is evaluated."""

    flips: Flips = "none"
    """horizontal: the version's probabilities are the mean of those of an image and of its mirror
    image, at twice the cost; a calibration is fitted to that mean. Trials are selected without. For
    classes that a mirror image still belongs to: not for digits."""
    calibration: Literal["none", "temperature"] = "none"
    """temperature: the version divides its logits by one number, fitted on validation, so that of
    predictions with a confidence of 0.9 nine in ten are right; no label changes by it."""
    calibration_bins: int = Field(15, ge=2, le=100)
    """Equal-width confidence bins of the expected calibration error."""
    mistakes: int = Field(24, ge=1, le=200)
    """Most confident mistakes shown in the report."""


Verdict = Literal["PROMOTE", "HOLD", "REJECT"]
"""The gate's verdict on a challenger."""


class GateParams(Record):
    """Absolute floors, and the evidence required against the champion."""

    minimum_test_images: int = Field(50, ge=1)
    """Fewest test images on which anything is promoted, the first version included: of fewer, an
    accuracy of 0.9 is known to 10 points, and one image is 2."""
    accuracy_over_majority: float = Field(0.1, ge=0, le=1)
    """Lowest test accuracy, as a share of the way from the majority class's accuracy up to 1. This
    and the next three are limits of lower 95 % bounds, not of what was seen on the test images."""
    accuracy: float | None = Field(None, ge=0, le=1)
    """Lowest test accuracy, whatever the majority class; null: none."""
    f1_macro: float | None = Field(0.1, ge=0, le=1)
    """Lowest macro F1 on test; null: none."""
    class_recall: float | None = Field(0.01, ge=0, le=1)
    """Lowest recall of any class with at least `class_images` test images; null: none."""
    class_images: int = Field(30, ge=1)
    """Fewest test images of a class for which `class_recall` applies."""
    new_class_recall: float | None = Field(0.5, ge=0, le=1)
    """Lowest recall of a class that the champion does not know, before it may be replaced by one
    that does: of the lower 95 % bound, or with fewer than `class_images` test images of what is
    seen; null: none."""
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
    """Probability, at most, that any of the `looks` at one test split promotes a challenger that is
    no better than the champion; also the level of each two-sided test for worse."""
    looks: int = Field(365, ge=1, le=100_000)
    """Challengers that one test split can judge. Each look is held to a level of its own, the first
    ones to the highest; after the last, only more test images help. A split of which half is new
    has half of its looks back."""
    metric: Objective = "accuracy"
    """Score in which a challenger must be better. accuracy: McNemar's test; f1_macro and
    cross_entropy: paired permutation tests. The guards are the same for each: a significant loss of
    accuracy rejects whatever the metric."""
    minimum_effect: float = Field(0.002, ge=0, le=1)
    """Smallest lead in the metric that justifies a change of champion: a share, or nats."""
    f1_macro_margin: float = Field(0.005, ge=0, le=1)
    """Loss of macro F1 that must not be exceeded as observed (HOLD), nor significantly (REJECT)."""
    cross_entropy_margin: float = Field(0.02, ge=0)
    """Rise of cross-entropy, in nats, that must not be exceeded as observed (HOLD), nor
    significantly (REJECT)."""
    class_recall_margin: float = Field(0.05, ge=0, le=1)
    """Loss of recall that must not be exceeded significantly in any class (REJECT), and that each
    class must be shown not to exceed (HOLD). A class with too few images to show it holds back only
    a loss beyond this that luck seldom brings; the verdict names what could have passed."""
    resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap samples behind macro F1 and cross-entropy."""
    approval: Literal["automatic", "manual"] = "automatic"
    """manual: a challenger that passed the gate awaits `pitchpipe approve`."""

    shadow: int = Field(0, ge=0, le=100_000)
    """Disagreements with the champion, logged by `serve --shadow`, that people must have labelled
    before a challenger that passed the gate is promoted; 0: none. Until then it awaits approval;
    one that they show to be worse is held."""


class InboxParams(Record):
    """Folder of deliveries, and when one is complete."""

    path: str = Field("data/inbox", min_length=1)
    """Folder, relative to the project's root, with deliveries in <path>/<dataset>/."""
    settle_seconds: float = Field(10.0, ge=0)
    """Seconds without change after which a delivery is complete and is added."""


NotifiedEvent = Literal[
    "promote", "hold", "reject", "await", "failure", "rollback", "adopt", "foreign", "restore"
]
MESSAGE_FIELDS = (
    *("text", "event", "name", "version", "champion", "verdict", "reasons", "test"),
    *("mlflow_run", "who", "time"),
)
"""Of a notification's message, which its templates may name."""


class NotifyParams(Record):
    """Who is notified of the end of retrainings and of moves of the champion; by default nobody."""

    webhook_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    """Environment variable that holds the webhook's URL, such as PITCHPIPE_WEBHOOK_URL; the URL is
    a secret and cannot be a param. null: no notifications."""
    addresses_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    """Environment variable that holds addresses of mail, Slack, Teams, Discord and others as
    Apprise takes them, with spaces between, or the path of a file that its owner alone may read,
    with an address a line. Needs the extra `notify`. null: none."""
    title: str = "$name: $event"
    """Title of what these addresses are sent: a template of the message's fields."""
    body: str = "$text\n\n$reasons"
    """Body of it, likewise; $reasons and $test are a line each."""
    bodies: dict[NotifiedEvent, str] = Field(default_factory=dict)
    """Bodies of events that have one of their own."""
    events: tuple[NotifiedEvent, ...] = get_args(NotifiedEvent)
    """Events to send. await: the gate passed a version, and `pitchpipe approve` is awaited;
    failure: the retraining ended without verdict; rollback, adopt: by hand; foreign: the champion's
    alias was moved outside pitchpipe; restore: it was put back (`guard.restore`)."""
    timeout_seconds: float = Field(5.0, gt=0, le=60)
    """Timeout of each attempt."""
    attempts: int = Field(3, ge=1, le=10)
    """Attempts, with 1, 2, 4... seconds in between. After all of them nobody is waited for."""

    @field_validator("title", "body", "bodies")
    @classmethod
    def _fields_of_a_message(cls, given: str | dict[str, str]) -> str | dict[str, str]:
        for text in [given] if isinstance(given, str) else given.values():
            template = Template(text)
            unknown = [name for name in template.get_identifiers() if name not in MESSAGE_FIELDS]
            if unknown or not template.is_valid():
                raise ValueError(
                    f"{text!r} is no template: ${unknown[0] if unknown else ''} is no field of a "
                    f"message; fields: {', '.join(f'${name}' for name in MESSAGE_FIELDS)}; a "
                    "dollar sign itself is $$"
                )
        return given

    @property
    def seconds(self) -> float:
        """Longest time that a notification takes."""
        return self.attempts * self.timeout_seconds + 2.0 ** (self.attempts - 1) - 1


class GuardParams(Record):
    """What `pitchpipe up` does where the champion's alias was moved outside pitchpipe.

    It always says so and records the move in the ledger.
    """

    restore: bool = False
    """Put the alias back to the ledger's champion. Who wants another one says so by `pitchpipe
    promote`, `rollback` or `adopt`."""
    restores_per_day: int = Field(3, ge=1, le=1000)
    """Times within 24 hours after which it is left where somebody insists on putting it."""


class RetentionParams(Record):
    """What `pitchpipe gc` removes; null: nothing for that reason.

    What a version, the ledger or a running process needs is always kept.
    """

    trials_days: float | None = Field(90.0, gt=0)
    """Days since it was last written after which a trial is removed."""
    trials_bytes: int | None = Field(None, ge=0)
    """Bytes of the trial store beyond which trials are removed, failed and worst ones first."""
    keep_best: int = Field(20, ge=0)
    """Number of the best trials of each dataset, by validation, that are always kept."""
    runs_days: float | None = Field(180.0, gt=0)
    """Days after its end until a retraining is removed from MLflow, with its trials' runs and their
    artifacts; days after it was last asked for until a drift report is removed."""
    flow_runs_days: float | None = Field(30.0, gt=0)
    """Days after its end until a flow run is removed, with its task runs, logs and artifacts."""
    shadow_days: float | None = Field(30.0, gt=0)
    """Days after which an image that `serve --shadow` logged is removed: it is a user's."""
    analyses_days: float | None = Field(180.0, gt=0)
    """Days since it was last written after which a label triage or an answer of `data worth` is
    removed. Those about the prepared data and the newest one about each dataset are always kept."""
    copies_days: float | None = Field(30.0, gt=0)
    """Days after its last use until a local copy of a version with remote artifacts is removed."""


class RetrainingParams(Record):
    """Limits on retrainings by schedules and triggers; `pitchpipe run` has none."""

    cool_down_hours: float = Field(0.0, ge=0, le=24 * 366)
    """Hours between the end of a retraining and the start of the next, at least."""
    minimum_new_images: int = Field(1, ge=1)
    """Fewest new or relabelled images for which a schedule retrains where the data alone changed
    and no drift was found; it waits for more otherwise."""
    minimum_expected_gain: float | None = Field(None, gt=0, lt=1)
    """Least gain in accuracy, as a share, for which a schedule retrains where the data alone
    changed and no drift was found: it waits while even the upper end of the 95 % interval of what
    the new images promise is less. Holds where `pitchpipe data worth` measured the dataset; null:
    no gain is too small."""
    per_day: int | None = Field(None, ge=1)
    """Retrainings that end within any 24 hours, at most, with any result; null: no limit."""
    hours_per_week: float | None = Field(None, gt=0)
    """Hours of retraining within any 7 days after which none is started; null: no limit."""
