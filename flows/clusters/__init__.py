"""Trials on the workers of a Dask or Ray cluster, which share the project's folder with us."""
