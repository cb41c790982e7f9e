"""`pitchpipe doctor`: examines the project and names a remedy for whatever is wrong."""

from functools import partial

from flows.doctor import by_itself, databases, records, surroundings
from flows.doctor.findings import Check, Finding, examine

__all__ = ["Finding", "examine_project"]


def examine_project(*, deep: bool = False) -> list[Finding]:
    """Examine everything; deep: also hash weights and DVC's cache, which reads every byte."""
    checks: dict[str, Check] = {
        "params.yaml": records.params_file,
        "folders": surroundings.folders,
        "packages": surroundings.packages,
        "environment": surroundings.environment,
        "services and ports": surroundings.services,
        "retraining lock": surroundings.locks,
        "MLflow's database": databases.mlflow_database,
        "Prefect's database": databases.prefect_database,
        "ledger": records.ledger_chain,
        "champion": records.champion,
        "trial store": partial(records.trial_store, deep=deep),
        "datasets": partial(records.datasets, deep=deep),
        "schedules": by_itself.schedules,
        "quarantine": by_itself.quarantine,
        "git": records.git_tracking,
        "disk": surroundings.disk,
    }
    return [finding for name, check in checks.items() for finding in examine(name, check)]
