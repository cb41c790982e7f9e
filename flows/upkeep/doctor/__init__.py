"""`pitchpipe doctor`: checks of the project, each fault with its remedy."""

from collections.abc import Callable
from functools import partial

from flows.upkeep.doctor import databases, files, machine, schedules
from flows.upkeep.doctor.finding import Check, Finding, examine
from models.config import Params, load_params

__all__ = ["Finding", "examine_project"]


def examine_project(
    read_params: Callable[[], Params] = load_params, *, deep: bool = False
) -> list[Finding]:
    """Run all checks.

    read_params: raises ConfigError where the params are invalid, which is a finding.
    deep: also hash weights and DVC's cache, which reads every byte.
    """
    checks: dict[str, Check] = {
        "params": partial(files.params, read_params),
        "default dataset": files.default_dataset,
        "folders": machine.folders,
        "packages": machine.packages,
        "environment": machine.environment,
        "services and ports": machine.services,
        "retraining lock": machine.locks,
        "MLflow's database": databases.mlflow_database,
        "Prefect's database": databases.prefect_database,
        "ledger": files.ledger_chain,
        "records": files.records,
        "champions": partial(files.champions, read_params),
        "trial store": partial(files.trial_store, deep=deep),
        "datasets": partial(files.datasets, deep=deep),
        "schedules": schedules.schedules,
        "quarantine": schedules.quarantine,
        "git": files.git_tracking,
        "disk": machine.disk,
    }
    return [finding for name, check in checks.items() for finding in examine(name, check)]
