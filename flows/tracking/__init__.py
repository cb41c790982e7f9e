"""MLflow tracking: runs mirrored from the trial store by one writer, rebuilt by `sync`."""
