"""The registry: register, list, check and load versions in MLflow."""
