"""This machine: environment variables, child servers, Prefect's API, locks, scratch folders."""
