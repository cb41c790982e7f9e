"""What pitchpipe computes: configuration, datasets, networks, training, search, evaluation, gate.

Nothing here imports prefect, mlflow, dvc, typer or rich; `flows/` acts on what is computed here.
"""
