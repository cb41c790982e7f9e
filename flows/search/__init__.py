"""A search in progress: what the trial store holds of it and what is missing. Without Prefect."""
