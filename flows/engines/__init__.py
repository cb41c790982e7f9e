"""Where trials run: processes of this machine, or workers of a Dask or Ray cluster."""
