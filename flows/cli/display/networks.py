"""Output of `networks` for people."""

import json
from collections.abc import Sequence

from pydantic import JsonValue
from rich.console import Console

from flows.cli.display.tables import Column, fitted_table
from models.config import DataParams
from models.evaluation.network_costs import NetworkCost, NetworkKind


def print_networks(kinds: Sequence[NetworkKind], data: DataParams, *, classes: int) -> None:
    """Print a row for each network, what cannot be had, and the layers of the one chosen."""
    console = Console(markup=False, highlight=False)
    side = data.image_size
    console.print(f"on {side} x {side} x {data.channels}, {classes} classes; * is chosen\n")
    console.print(fitted_table(_kind_columns(kinds), width=console.width))
    for kind in kinds:
        if kind.refused is not None:
            console.print(f"{kind.name}: {kind.refused}")
        if kind.chosen and kind.cost is not None:
            console.print()
            columns = _layer_columns(kind.cost)
            console.print(fitted_table(columns, width=console.width, title=kind.name))


def _kind_columns(kinds: Sequence[NetworkKind]) -> list[Column]:
    costs = [kind.cost for kind in kinds]
    return [
        Column("network", [f"{kind.name} *" if kind.chosen else kind.name for kind in kinds]),
        Column("parameters", [f"{cost.parameters:,}" if cost else "" for cost in costs]),
        Column("multiply-\nadds", [f"{cost.multiply_adds:,}" if cost else "" for cost in costs]),
        Column(
            "activations,\nbytes", [f"{cost.activation_bytes:,}" if cost else "" for cost in costs]
        ),
        Column("fields", [_fields(kind) for kind in kinds], wraps=True),
    ]


def _fields(kind: NetworkKind) -> str:
    """Return each field with the value that is counted; of a network refused, its default."""
    values = kind.config or {field.name: field.default for field in kind.fields}
    return ", ".join(f"{field.name} {_text(values[field.name])}" for field in kind.fields)


def _text(value: JsonValue) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else json.dumps(value).strip('"')


def _layer_columns(cost: NetworkCost) -> list[Column]:
    layers = cost.layers
    return [
        Column("layer", [layer.name for layer in layers]),
        Column("kind", [layer.kind for layer in layers], spare=1),
        Column("output", [" x ".join(map(str, layer.output)) for layer in layers]),
        Column("parameters", [f"{layer.parameters:,}" for layer in layers]),
        Column("multiply-\nadds", [f"{layer.multiply_adds:,}" for layer in layers]),
    ]
