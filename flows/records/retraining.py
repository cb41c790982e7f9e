"""The request for a retraining and its result; light to import, plain to serialise."""

from pathlib import Path

from pydantic import Field, JsonValue

from flows.records.choices import AskedDevice, EngineName
from flows.records.promotion import Promotion
from models.config import Params, Record, TrialConfig, load_params
from models.decision import Decision, DriftScore, ExpectedAccuracy, Trigger
from models.evaluation.records import Baseline, Distinction, FromBest, Optimism
from models.search.confirmation import Confirmed
from models.trials import Scores


class Request(Record):
    """A request for one retraining, by a person or a schedule; params are read when it runs."""

    params_file: str = "params.yaml"
    overrides: list[str] = Field(default_factory=list)
    """`K=V`, applied to the file."""
    trigger: Trigger = "manual"
    drift: tuple[DriftScore, ...] = ()
    """Results of monitoring the newest images."""
    expected: ExpectedAccuracy | None = None
    """On the newest images, estimated without labels."""
    force: bool = False
    """Retrain even if nothing changed."""
    promote: bool = True
    """Let the gate move the champion."""
    tune_only: bool = False
    """End after the search."""
    workers: int | None = Field(None, ge=1)
    """Trials at the same time; null: one for each core, or fewer of several threads."""
    engine: EngineName = "processes"
    """Where trials run: children of this process, or workers of a Dask or Ray cluster."""
    engine_address: str | None = None
    """`host:port` of an existing cluster, which is left alive; null: one that ends with us."""
    device: AskedDevice = "auto"
    """Kind of processor trained on; auto: a GPU where this machine has one."""

    @property
    def again(self) -> bool:
        """Whether trials that timed out are tried again: `tune` always counts as forced."""
        return self.force and not self.tune_only

    def params(self) -> Params:
        """Read and validate the params asked for."""
        return load_params(Path(self.params_file), self.overrides)


class TrialCounts(Record):
    """Numbers of trials, by outcome."""

    total: int = 0
    trained: int = 0
    cached: int = 0
    pruned: int = 0
    failed: int = 0


class BestTrial(Record):
    """The trial that was selected on validation."""

    key: str
    config: TrialConfig
    scores: Scores
    """On validation."""
    weights: str | None = None
    """SHA-256 over names, types, shapes and bytes of its weights."""


class LeaderboardEntry(Record):
    """A trial of the leaderboard, for people."""

    key: str
    differences: dict[str, str]
    """Axis -> value, for axes that distinguish it from the others."""
    scores: Scores
    epochs: int
    seconds: float
    cached: bool
    pruned: bool = False
    """Stopped by the search before the whole budget."""
    from_best: FromBest | None = None
    """Paired test against the selected trial; null: it is that, or was not tested."""


class DatasetName(Record):
    """Name and version of a dataset."""

    name: str
    digest: str
    """Of the raw batches, as `data restore` takes it."""


_NOT_JUDGED: dict[str, JsonValue] = {
    "verdict": None,
    "reasons": [],
    "rules": [],
    "version": None,
    "champion": None,
    "awaits_approval": False,
}


class Retraining(Record):
    """Result of a retraining; what does not apply is null."""

    decision: Decision
    promotion: Promotion | None = None
    trials: TrialCounts = TrialCounts()
    not_begun: int = 0
    """Trials that `search.max_seconds` or `search.max_epochs_total` left out."""
    best: BestTrial | None = None
    optimism: Optimism | None = None
    """How much too good the best trial's validation score is by the choice; null: no estimate."""
    distinction: Distinction | None = None
    """How many trials validation does not tell from the best; null: none was tested."""
    confirmation: tuple[Confirmed, ...] = ()
    """Configurations trained again with other seeds, best first; empty unless `search.confirm`."""
    test: Scores | None = None
    """Of the selected trial, or of its refit."""
    refit: bool = False
    """Whether a refit of the selected trial was scored and registered in its place."""
    dataset: DatasetName | None = None
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    """Best first; empty unless `search.baselines`."""
    registered_name: str | None = None
    mlflow_run: str | None = None
    """Id of the parent run."""
    report: str | None = None
    """Path of report.html."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: promoted or nothing to do; 3: ran, but the gate refused or approval is awaited."""
        if self.promotion is None or self.promotion.champion == self.promotion.version:
            return 0
        return 3 if self.promotion.verdict != "PROMOTE" or self.promotion.awaits_approval else 0

    def document(self) -> dict[str, JsonValue]:
        """The JSON document of `run` and `tune`; keys that do not apply are null."""
        facts = self.model_dump(mode="json", exclude={"promotion"})
        judged = self.promotion.document() if self.promotion else _NOT_JUDGED
        return {"decision": facts.pop("decision"), **judged, **facts}
