"""`retention:` in params.yaml: how long `pitchpipe gc` lets stand what retrainings leave."""

from pydantic import Field

from models.config.base import Record


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
