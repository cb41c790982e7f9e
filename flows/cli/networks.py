"""`pitchpipe networks`: what `trial.network` can be, and what it costs."""

import typer

from flows.cli.options import JsonOption, Project, emit, with_params

ASSUMED_CLASSES = 10
"""Where no image of the dataset is here yet."""


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("networks")(networks)


@with_params()
def networks(project: Project, *, as_json: JsonOption = False) -> None:
    """List the networks with their fields, and what each costs on the images of the params.

    Parameters, multiply-adds and activations an image; layer by layer for the network chosen.

    Example: pitchpipe networks --set trial.network.name=resnet
    """
    from flows.cli.display.networks import print_networks
    from flows.datasets.current import class_count
    from models.evaluation.network_costs import network_kinds

    data = project.params.data
    side = data.image_size
    known = class_count(data)
    kinds = network_kinds(project.params, classes=known or ASSUMED_CLASSES)
    if not as_json:
        print_networks(kinds, data, classes=known or ASSUMED_CLASSES)
        return
    emit(
        {
            "image": {"channels": data.channels, "height": side, "width": side},
            "classes": known or ASSUMED_CLASSES,
            "classes_known": known is not None,
            "networks": kinds,
        }
    )
