"""Looking after a project: status, doctor, garbage collection."""
