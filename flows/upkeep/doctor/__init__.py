"""`pitchpipe doctor`: examines the project and names a remedy for whatever is wrong."""

from functools import partial

from flows.upkeep.doctor import databases, files, machine, schedules
from flows.upkeep.doctor.finding import Check, Finding, examine

__all__ = ["Finding", "examine_project"]


def examine_project(*, deep: bool = False) -> list[Finding]:
    """Examine everything; deep: also hash weights and DVC's cache, which reads every byte."""
    checks: dict[str, Check] = {
        "params.yaml": files.params_file,
        "folders": machine.folders,
        "packages": machine.packages,
        "environment": machine.environment,
        "services and ports": machine.services,
        "retraining lock": machine.locks,
        "MLflow's database": databases.mlflow_database,
        "Prefect's database": databases.prefect_database,
        "ledger": files.ledger_chain,
        "records": files.records,
        "champion": files.champion,
        "trial store": partial(files.trial_store, deep=deep),
        "datasets": partial(files.datasets, deep=deep),
        "schedules": schedules.schedules,
        "quarantine": schedules.quarantine,
        "git": files.git_tracking,
        "disk": machine.disk,
    }
    return [finding for name, check in checks.items() for finding in examine(name, check)]
