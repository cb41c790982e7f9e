"""`pitchpipe report | slices | explain | card`: what people look at before they trust a version."""

from typing import Annotated

import typer

from flows.cli.options import ChampionArgument, JsonOption, Project, emit, with_params
from flows.cli.suggestions import suggest_versions

TargetArgument = Annotated[
    str,
    typer.Argument(help="Version, alias, or a trial's key.", autocompletion=suggest_versions),
]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (report, slices, explain, card):
        app.command(command.__name__)(command)


@with_params(model=True)
def report(
    project: Project,
    target: TargetArgument = "champion",
    *,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", help="Two versions or aliases: which images the first fixed and broke."
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the path of a version's report, or write the comparison of two versions.

    --compare shows test images: to choose settings by them is to select on the test split.

    Example: pitchpipe report --compare challenger champion --open
    """
    tracking = project.reading()
    from flows.versions.reports import compare_versions, report_of, slices_beside

    page = compare_versions(tracking, *compare) if compare else report_of(tracking, target)
    path = page.resolve()
    if as_json:
        emit({"page": str(path), "slices": None if compare else slices_beside(page)})
    else:
        typer.echo(str(path))
    if open_page:
        typer.launch(path.as_uri())


@with_params(model=True)
def explain(
    project: Project,
    version: ChampionArgument = "champion",
    *,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="occlusion, integrated_gradients or grad_cam (repeatable); default: all.",
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", help="Shown, and as many judged.")] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where a version looks: attribution maps of its most surprising answers, and their worth.

    Each method is judged by deletion and insertion beside random maps, and by maps of randomised
    weights. They are test images: to choose settings by them is to select on the test split.
    Needs the extra `explain`.

    Example: pitchpipe explain champion --open
    """
    tracking = project.tracking()
    from flows.cli.display.progress_bar import counted
    from flows.versions.explain import Asked, explain_version

    asked = Asked(methods=tuple(methods or ()), images=images, seed=seed)
    with counted("explain") as progress:
        found, page = explain_version(tracking, version, asked, progress)
    path = page.resolve()
    if as_json:
        emit({"page": str(path), **found.model_dump(mode="json")})
    else:
        for line in (*(one.sentence for one in found.methods), *filter(None, [found.left_out])):
            typer.echo(f"{line}.")
        typer.echo(str(path))
    if open_page:
        typer.launch(path.as_uri())


@with_params(model=True)
def slices(
    project: Project,
    version: ChampionArgument = "champion",
    *,
    as_json: JsonOption = False,
) -> None:
    """Score a version by slice of today's test images, to see where it errs more than elsewhere.

    By class, brightness, contrast, original size, batch, group, and cluster of mistakes. No look at
    the test split is counted: to choose settings by what is shown is to select on it.

    Example: pitchpipe slices champion
    """
    tracking = project.tracking()
    from flows.cli.display.slices import print_slices
    from flows.versions.slices import slice_version

    found = slice_version(tracking, version)
    emit(found) if as_json else print_slices(found)


@with_params(model=True)
def card(
    project: Project,
    version: ChampionArgument = "champion",
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the model card of a version in Markdown: use, data, limits, scores, verdict, lineage.

    Example: pitchpipe card champion > CARD.md
    """
    tracking = project.reading()
    from flows.registry.loading import open_version
    from flows.versions.card import card_of

    text = card_of(open_version(tracking, version))
    if as_json:
        emit({"card": text})
    else:
        typer.echo(text, nl=False)
