"""`pitchpipe versions | promote | rollback | reject | approve | adopt | audit | trace | sync`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import JsonOption, ParamsOption, SetOption, emit, enter_project

if TYPE_CHECKING:
    from flows.promotion import Moved
    from flows.tracking import Tracking
    from models.config import Params

NOT_PROMOTED = 3

versions_app = typer.Typer(invoke_without_command=True)

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Registered name; default: registry.name of the params."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]
VersionArgument = Annotated[str, typer.Argument(help="Number or alias.", show_default=False)]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(versions_app, name="versions")
    for command in (promote, rollback, reject, approve, adopt, audit, trace, sync):
        app.command(command.__name__)(command)


@versions_app.callback()
def versions(
    context: typer.Context, *, model: ModelOption = None, as_json: JsonOption = False
) -> None:
    """List the registered versions, newest first.

    Example: pitchpipe versions --json
    """
    if context.invoked_subcommand:
        return
    tracking = open_project(context, model)
    from flows import registry, version_tables

    records = registry.versions(tracking)
    if as_json:
        emit([version_tables.version_document(record) for record in records])
    else:
        version_tables.print_versions(tracking.name, records)
    _warn_if_moved(tracking)


@versions_app.command("show")
def show(
    context: typer.Context,
    version: VersionArgument,
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one version: scores, data, trial, and every tag.

    Example: pitchpipe versions show champion
    """
    tracking = open_project(context, model)
    from flows import registry, version_tables

    document = version_tables.shown_version(registry.find_version(tracking, version))
    emit(document) if as_json else version_tables.print_facts(document)


def promote(
    context: typer.Context,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="Promote without the gate; needs --reason.")
    ] = False,
    model: ModelOption = None,
    params_file: ParamsOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, if the gate finds it better on today's test split.

    Exits 3 where the gate refuses, or approval is awaited. The champion itself is judged against
    itself: the gate holds, it stays champion, and the command exits 0.

    Example: pitchpipe promote 3 --reason "new camera"
    """
    params = _params(context, params_file, overrides)
    tracking = open_project(context, model or params.registered_name)
    from flows import promotion, registry

    number = registry.find_version(tracking, version).version
    if force:
        moved = promotion.force_promotion(tracking, number, reason=reason)
    else:
        judgement = promotion.judge(tracking, number, params.gate)
        moved = promotion.settle(tracking, judgement, params.gate, reason=reason)
    _answer(moved, as_json=as_json)
    if moved.after != number:
        raise typer.Exit(NOT_PROMOTED)


def rollback(
    context: typer.Context,
    *,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; default: the champion before this one.")
    ] = None,
    reason: ReasonOption = "",
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the champion before this one back into service.

    Example: pitchpipe rollback --reason "worse on blurred images"
    """
    tracking = open_project(context, model)
    from flows import promotion

    _answer(promotion.rollback(tracking, to=to, reason=reason), as_json=as_json)


def reject(
    context: typer.Context,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide that a version shall not serve.

    Example: pitchpipe reject 3 --reason "trained on mislabelled images"
    """
    tracking = open_project(context, model)
    from flows import promotion, registry

    number = registry.find_version(tracking, version).version
    _answer(promotion.reject(tracking, number, reason=reason), as_json=as_json)


def approve(
    context: typer.Context,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Promote a version that passed the gate and waits (gate.approval: manual).

    Example: pitchpipe approve 3 --reason "looked at its mistakes"
    """
    tracking = open_project(context, model)
    from flows import promotion, registry

    number = registry.find_version(tracking, version).version
    _answer(promotion.approve(tracking, number, reason=reason), as_json=as_json)


def adopt(
    context: typer.Context,
    *,
    reason: ReasonOption = "",
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept a champion that was set outside pitchpipe, in the MLflow UI for instance.

    Example: pitchpipe adopt --reason "emergency, agreed with everybody"
    """
    tracking = open_project(context, model)
    from flows import promotion

    _answer(promotion.adopt(tracking, reason=reason), as_json=as_json)


def audit(
    context: typer.Context,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Exit 1 where something is wrong.")
    ] = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the ledger, and whether it can be believed. Long reasons are whole in --json.

    Example: pitchpipe audit --verify
    """
    tracking = open_project(context, model)
    from flows import promotion, version_tables

    found = promotion.audit(tracking)
    if as_json:
        emit(version_tables.audit_document(found))
    else:
        version_tables.print_audit(found)
    if verify and not found.valid:
        raise typer.Exit(1)


def trace(
    context: typer.Context,
    version: VersionArgument,
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that made a version: data, params, code, environment, seed, trial.

    Example: pitchpipe trace champion --json
    """
    tracking = open_project(context, model)
    from flows import registry, version_tables

    document = version_tables.trace_document(registry.open_version(tracking, version))
    emit(document) if as_json else version_tables.print_facts(document)


def sync(context: typer.Context, *, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Bring MLflow up to date with the trial store: after an outage, or a lost database.

    Example: pitchpipe sync
    """
    tracking = open_project(context, model)
    from flows import tracking as mirror

    report = mirror.sync(tracking)
    if as_json:
        told, refused = list(report.told), list(report.refused)
        emit({"told": told, "whole": report.whole, "refused": refused})
        return
    from rich.console import Console

    console = Console(highlight=False)
    for name in report.told:
        console.print(f"brought to MLflow: {name}")
    for refusal in report.refused:
        console.print(f"MLflow does not take it: {refusal}", markup=False)
    console.print(f"{report.whole} retrainings and drift reports were there already.")


def open_project(context: typer.Context, model: str | None) -> "Tracking":
    """Enter the project and open its store for a registered name."""
    enter_project(context)
    from flows.tracking import open_tracking
    from models.config import load_params

    return open_tracking(model or load_params(Path("params.yaml")).registered_name)


def _params(
    context: typer.Context, params_file: Path | None, overrides: list[str] | None
) -> "Params":
    project = enter_project(context)
    from models.config import load_params

    path = project.user_path(params_file) if params_file else Path("params.yaml")
    return load_params(path, overrides or ())


def _answer(moved: "Moved", *, as_json: bool) -> None:
    from flows import version_tables

    if as_json:
        emit(version_tables.moved_document(moved))
    else:
        version_tables.print_moved(moved)


def _warn_if_moved(tracking: "Tracking") -> None:
    from flows import promotion

    moved = promotion.hand_moved(tracking)
    if moved:
        typer.echo(f"pitchpipe: {moved}", err=True)
