"""`pitchpipe up`: the MLflow UI, the Prefect server and the schedules, on loopback."""

from typing import Annotated

import typer

from flows.console import enter_project


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("up")(up)


def up(
    context: typer.Context,
    *,
    mlflow_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the MLflow UI, if it is free.")
    ] = 5000,
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Prefect server, if it is free.")
    ] = 4200,
) -> None:
    """Start MLflow's UI and Prefect's server on loopback and serve the schedules; Ctrl-C stops all.

    Example: pitchpipe up
    """
    enter_project(context)
    from flows.up import serve_until_interrupted

    serve_until_interrupted(mlflow_port=mlflow_port, prefect_port=prefect_port)
