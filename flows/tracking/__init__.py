"""MLflow tracking: retrainings and drift reports mirrored as runs, rebuilt by `sync`."""
