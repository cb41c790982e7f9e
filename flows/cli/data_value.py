"""`pitchpipe data worth`: what more images would bring."""

from typing import Annotated

import typer

from flows.cli.options import JsonOption, Project, emit, with_params

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
