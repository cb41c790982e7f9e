"""Scheduled retraining: schedules.yaml, triggers, Prefect deployments, worker, status, `up`."""
