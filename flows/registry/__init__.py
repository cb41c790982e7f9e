"""The MLflow registry: versions registered, listed, checked and loaded."""
