"""`pitchpipe data triage | relabel`: labels that are likely wrong, and other ones."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import DatasetOption, JsonOption, Project, emit, with_params

OfOption = Annotated[
    str, typer.Option("--of", help="Version, alias or trial whose config is trained.")
]
FoldsOption = Annotated[int, typer.Option("--folds", help="Trainings; each leaves out a fold.")]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", help="Of each fold, at most; default: its trial's.")
]
SplitsOption = Annotated[
    list[str] | None,
    typer.Option("--split", help="train, validation, test (repeatable); default: all."),
]
ListOption = Annotated[
    Path | None, typer.Option("--output", help="The list, .csv or .jsonl; default: by the page.")
]
FillOption = Annotated[
    Literal["given", "proposed"],
    typer.Option("--fill", help="What the list's column `label` holds at first."),
]
TopOption = Annotated[int | None, typer.Option("--top", min=1, help="Lines of the list.")]


@with_params(model=True)
def triage(
    project: Project,
    *,
    dataset: DatasetOption = None,
    of: OfOption = "champion",
    folds: FoldsOption = 5,
    epochs: EpochsOption = None,
    split: SplitsOption = None,
    output: ListOption = None,
    fill: FillOption = "given",
    top: TopOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it costs, no more.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank images whose labels are likely wrong, by networks that did not see them.

    Trains the champion's config on folds of train and validation; test is asked of the champion
    itself. Edit the list that is written, then `pitchpipe data relabel` it.

    Example: pitchpipe data triage --folds 3
    """
    from flows.cli.display.labels import following, print_triage, say_plan
    from flows.versions.label_triage import TriageRequest, open_triage, splits_named
    from flows.versions.triage_files import ListRequest, write_triage

    asked = ListRequest(project.user_path(output) if output else None, fill, top)
    asked.check()
    request = TriageRequest(of, folds, epochs, splits_named(split or []))
    project = project.of_dataset(dataset)
    opened = open_triage(project.tracking(), project.params, request)
    say_plan(opened.plan)
    if dry_run:
        emit(opened.plan) if as_json else None
        return
    with following(opened.plan) as tick:
        found = opened.carry_out(tick)
    found = write_triage(found, opened.tracking, of, asked)
    emit(found) if as_json else print_triage(found)


@with_params()
def relabel(
    project: Project,
    file: Annotated[
        Path,
        typer.Argument(help="CSV or JSON lines of id and label, or `drop`.", show_default=False),
    ],
    *,
    dataset: DatasetOption = None,
    test: Annotated[
        bool, typer.Option("--test", help="Relabel test images, too: the gate's yardstick.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give images other labels, or drop them, as a new version of the dataset.

    The batches stay as they are; images keep their splits. `data restore` undoes it.

    Example: pitchpipe data relabel faults.csv
    """
    data = project.of_dataset(dataset).params.data
    from flows.cli.display.labels import print_relabelled
    from flows.datasets.relabel import relabel_images

    relabelled = relabel_images(project.user_path(file), data, test=test)
    emit(relabelled) if as_json else print_relabelled(relabelled)
