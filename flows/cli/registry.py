"""`pitchpipe versions | promote | rollback | reject | approve | adopt | audit | trace | sync`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    JsonOption,
    ModelOption,
    ParamsOption,
    SetOption,
    VersionArgument,
    emit,
    enter_project,
)

if TYPE_CHECKING:
    from flows.records.promotion import Move
    from flows.tracking.store import Tracking

NOT_PROMOTED = 3

versions_app = typer.Typer(invoke_without_command=True)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]


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
    tracking = enter_project(context).tracking(model)
    from flows.cli.display.versions import print_versions, version_document
    from flows.registry.listing import list_versions

    records = list_versions(tracking)
    if as_json:
        emit([version_document(record) for record in records])
    else:
        print_versions(tracking.name, records)
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
    tracking = enter_project(context).tracking(model)
    from flows.cli.display.versions import print_facts, version_details
    from flows.registry.listing import find_version

    document = version_details(find_version(tracking, version))
    emit(document) if as_json else print_facts(document)


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
    project = enter_project(context)
    params = project.params(params_file, overrides)
    tracking = project.tracking(model or params.registered_name)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import force_promotion, settle
    from flows.registry.promotion.judge import judge

    number = find_version(tracking, version).version
    if force:
        moved = force_promotion(tracking, number, reason=reason)
    else:
        judgement = judge(tracking, number, params.gate)
        moved = settle(tracking, judgement, params.gate, reason=reason)
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
    tracking = enter_project(context).tracking(model)
    from flows.registry.promotion.commands import roll_back

    _answer(roll_back(tracking, to=to, reason=reason), as_json=as_json)


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
    tracking = enter_project(context).tracking(model)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import reject_version

    number = find_version(tracking, version).version
    _answer(reject_version(tracking, number, reason=reason), as_json=as_json)


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
    tracking = enter_project(context).tracking(model)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import approve_version

    number = find_version(tracking, version).version
    _answer(approve_version(tracking, number, reason=reason), as_json=as_json)


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
    tracking = enter_project(context).tracking(model)
    from flows.registry.promotion.commands import adopt_champion

    _answer(adopt_champion(tracking, reason=reason), as_json=as_json)


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
    tracking = enter_project(context).tracking(model)
    from flows.cli.display.versions import audit_document, print_audit
    from flows.registry.promotion.audit import audit_ledger

    found = audit_ledger(tracking)
    if as_json:
        emit(audit_document(found))
    else:
        print_audit(found)
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
    tracking = enter_project(context).tracking(model)
    from flows.cli.display.versions import print_facts, trace_document
    from flows.registry.loading import open_version

    document = trace_document(open_version(tracking, version))
    emit(document) if as_json else print_facts(document)


def sync(context: typer.Context, *, model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Bring MLflow up to date with the trial store: after an outage, or a lost database.

    Example: pitchpipe sync
    """
    tracking = enter_project(context).tracking(model)
    from flows.tracking.reconcile import sync_runs

    report = sync_runs(tracking)
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


def _answer(moved: "Move", *, as_json: bool) -> None:
    from flows.cli.display.versions import moved_document, print_moved

    if as_json:
        emit(moved_document(moved))
    else:
        print_moved(moved)


def _warn_if_moved(tracking: "Tracking") -> None:
    from flows.registry.promotion.commands import hand_moved

    moved = hand_moved(tracking)
    if moved:
        typer.echo(f"pitchpipe: {moved}", err=True)
