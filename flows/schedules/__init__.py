"""Scheduled retraining: schedules.yaml, triggers, Prefect deployments, the worker, `up`."""
