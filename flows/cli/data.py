"""`pitchpipe data ...` and `pitchpipe prepare`: batches, versions and arrays of a dataset."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import (
    DatasetOption,
    JsonOption,
    Project,
    SkipBadOption,
    emit,
    with_params,
)

data_app = typer.Typer(help="Add, check, list and restore images.", no_args_is_help=True)

SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of class folders, Parquet (Hugging Face layout), IDX, NPZ, or `digits`.",
        show_default=False,
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="folder, parquet, idx, npz or digits; default: detected."),
]
SplitOption = Annotated[
    Literal["train", "validation", "test"] | None,
    typer.Option("--split", help="Split of all images, where the source declares none."),
]
SubjectArgument = Annotated[
    str | None,
    typer.Argument(
        help="Version, alias, trial, or `params`; default: the champion, else `params`.",
        show_default=False,
    ),
]
FractionsOption = Annotated[
    str, typer.Option("--fractions", help="Of the train split, beside the whole.")
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=2, max=50, help="Trials of each fraction.")
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", help="Also: images of this class alone (repeatable)."),
]
CapacityOption = Annotated[
    bool, typer.Option("--capacity", help="Also: the network at 1/4, 1/2 and 2 times its width.")
]
MoreOption = Annotated[
    int | None,
    typer.Option("--more", min=1, help="Images that gains are for; default: as many again."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Trials at the same time.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say which trials, and about how long.")
]

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


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(data_app, name="data")
    app.command("prepare")(prepare)


@data_app.command("add")
@with_params()
def add(
    project: Project,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the batch.")] = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    skip_bad: SkipBadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add images as a new immutable batch, checked and versioned.

    Example: pitchpipe data add photos/ --dataset pets
    """
    data = project.of_dataset(dataset).params.data
    from flows.cli.display.datasets import print_added
    from flows.datasets.ingest import add_source

    added = add_source(
        project.user_path(source), data, name=name, kind=kind, split=split, skip_bad=skip_bad
    )
    emit(added) if as_json else print_added(added)


@data_app.command("check")
@with_params()
def check(
    project: Project,
    source: SourceArgument,
    *,
    dataset: DatasetOption = None,
    kind: FormatOption = None,
    split: SplitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the checks of `data add` and write nothing; exits 2 where there are errors.

    Example: pitchpipe data check photos/
    """
    data = project.of_dataset(dataset).params.data
    from flows.cli.display.datasets import print_report
    from flows.datasets.ingest import check_source

    report = check_source(project.user_path(source), data, kind=kind, split=split)
    emit(report) if as_json else print_report(report)
    raise typer.Exit(2 if report.errors else 0)


@data_app.command("status")
@with_params()
def status(project: Project, *, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Show the dataset and its changes since its last version.

    Every file of DVC's cache is hashed. Exits 1 where one is missing or corrupted.

    Example: pitchpipe data status
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_status
    from flows.datasets.status import dataset_status

    found = dataset_status(params.data, params.inbox)
    emit(found) if as_json else print_status(found)
    raise typer.Exit(1 if found.problems else 0)


@data_app.command("triage")
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


@data_app.command("relabel")
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


@data_app.command("inbox")
@with_params()
def inbox(project: Project, *, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Add the deliveries in data/inbox/<dataset>/; bad ones are quarantined.

    Exits 0 in either case: `quarantined` of the JSON document lists what could not be added.

    Example: pitchpipe data inbox --dataset pets
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_taken
    from flows.datasets.inbox import take_deliveries

    taken = take_deliveries(params.data, params.inbox)
    emit(taken) if as_json else print_taken(taken)


@data_app.command("log")
@with_params()
def log(project: Project, *, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List the versions of the dataset, newest first, with the runs and models made from each.

    Runs and registered versions are those of the params' registry.name.

    Example: pitchpipe data log --dataset pets
    """
    params = project.of_dataset(dataset).params
    from flows.cli.display.datasets import print_log
    from flows.registry.dataset_uses import used_versions

    versions = used_versions(params.data.name, registered=params.registered_name)
    emit(versions) if as_json else print_log(params.data.name, versions)


@data_app.command("restore")
@with_params()
def restore(
    project: Project,
    digest: Annotated[str, typer.Argument(help="Digest of a version, or its first digits.")],
    *,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore an older version, byte for byte, from DVC's cache or remote, and prepare it.

    Example: pitchpipe data restore 3f2a9c
    """
    data = project.params.data
    from flows.cli.display.datasets import print_restored
    from flows.datasets.restore import restore_dataset

    restored = restore_dataset(digest, data, dataset=dataset)
    emit(restored) if as_json else print_restored(restored)


@data_app.command("worth")
@with_params(model=True)
def worth(
    project: Project,
    target: SubjectArgument = None,
    *,
    fractions: FractionsOption = "0.125,0.25,0.5",
    seeds: SeedsOption = 3,
    classes: ClassOption = None,
    capacity: CapacityOption = False,
    more: MoreOption = None,
    workers: WorkersOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what more images would bring: trials on fractions of train, scored on validation.

    Overall and for each class, with 95 % intervals. Trials are kept: killed, it goes on.

    Example: pitchpipe data worth --class 8 --capacity
    """
    from flows.cli.display.data_value import parse_fractions, print_cost, print_value

    shares, request = parse_fractions(fractions), project.request(workers=workers)
    from flows.versions.data_value.answering import answer_value, plan_value
    from flows.versions.data_value.planning import Question
    from flows.versions.data_value.showing import keep_value, page_of

    question = Question(shares, seeds, tuple(classes or ()), capacity=capacity, more=more)
    tracking = project.tracking()
    plan, cost = plan_value(tracking, target, question, request=request, dry=dry_run)
    if dry_run:
        emit(cost) if as_json else print_cost(cost)
        return
    print_cost(cost, to_stderr=True)
    value = keep_value(tracking, answer_value(plan, request))
    emit(value) if as_json else print_value(value, page_of(value))


@with_params(warn=False)  # the command of DVC's stage, too
def prepare(
    project: Project,
    *,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Read data/prepare.yaml, as DVC's stage does.")
    ] = False,
    write_params: Annotated[
        bool,
        typer.Option(
            "--write-params",
            help="Only write data/prepare.yaml, as DVC's stage; --json prints its content.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make data/prepared/ from the batches: check, resize, split. DVC is not called.

    Example: pitchpipe prepare --set data.image_size=32
    """
    from flows.cli.display.datasets import print_prepared
    from flows.datasets.current import prepare_here, read_resolved, write_resolved

    data = read_resolved() if resolved else project.params.data
    write_resolved(data)
    if write_params:
        if as_json:
            emit({"data": data})
        return
    manifest = prepare_here(data)
    if as_json:
        emit({**dict(manifest), "warnings": manifest.checks})
    else:
        print_prepared(manifest)
