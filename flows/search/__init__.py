"""A search in progress: which trials are planned, cached, missing. It knows no Prefect."""
