"""`pitchpipe versions | promote | rollback | reject | approve | adopt | audit | trace | sync`."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import JsonOption, Project, VersionArgument, emit, with_params

if TYPE_CHECKING:
    from flows.records.promotion import Move
    from flows.tracking.store import Tracking

NOT_PROMOTED = 3

versions_app = typer.Typer(invoke_without_command=True)

ReasonOption = Annotated[str, typer.Option("--reason", help="Reason; kept in the ledger.")]


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(versions_app, name="versions")
    for command in (promote, rollback, reject, approve, adopt, audit, trace, sync):
        app.command(command.__name__)(command)


@versions_app.callback()
@with_params(model=True)
def versions(project: Project, *, as_json: JsonOption = False) -> None:
    """List the registered versions, newest first.

    Example: pitchpipe versions --json
    """
    tracking = project.reading()
    from flows.cli.display.versions import print_versions, version_document
    from flows.registry.listing import corrected_scores, list_versions

    records = list_versions(tracking)
    corrected = corrected_scores(records)
    if as_json:
        emit([version_document(record, corrected.get(record.version)) for record in records])
    else:
        print_versions(tracking.name, records, corrected)
    _warn_if_moved(tracking)


@versions_app.command("show")
@with_params(model=True)
def show(project: Project, version: VersionArgument, *, as_json: JsonOption = False) -> None:
    """Show one version: scores, data, trial, and every tag.

    Example: pitchpipe versions show champion
    """
    tracking = project.reading()
    from flows.cli.display.versions import print_facts, version_details
    from flows.registry.listing import find_version

    document = version_details(find_version(tracking, version))
    emit(document) if as_json else print_facts(document)


@with_params(model=True)
def promote(
    project: Project,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="Promote without the gate; needs --reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, if the gate finds it better on today's test split.

    Exits 3 where the gate refuses, or approval is awaited. The champion compared with itself is
    held: it stays champion, and the command exits 0.

    Example: pitchpipe promote 3 --reason "new camera"
    """
    params, tracking = project.params, _opened(project)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import force_promotion, settle
    from flows.registry.promotion.judge import judge

    number = find_version(tracking, version).version
    if force:
        moved = force_promotion(tracking, number, reason=reason)
    else:
        judgement = judge(tracking, number, params.gate)
        moved = settle(tracking, judgement, params.gate, reason=reason)
    _conclude(project, moved, as_json=as_json)
    if moved.after != number:
        raise typer.Exit(NOT_PROMOTED)


@with_params(model=True)
def rollback(
    project: Project,
    *,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; default: the champion before this one.")
    ] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Restore the previous champion.

    Example: pitchpipe rollback --reason "worse on blurred images"
    """
    from flows.registry.promotion.commands import roll_back

    moved = roll_back(_opened(project), to=to, reason=reason)
    _conclude(project, moved, as_json=as_json)


@with_params(model=True)
def reject(
    project: Project,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Reject a version: record in the ledger that it shall not serve.

    Example: pitchpipe reject 3 --reason "trained on mislabelled images"
    """
    tracking = _opened(project)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import reject_version

    number = find_version(tracking, version).version
    _conclude(project, reject_version(tracking, number, reason=reason), as_json=as_json)


@with_params(model=True)
def approve(
    project: Project,
    version: VersionArgument,
    *,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Promote a version that passed the gate and awaits approval (gate.approval: manual).

    Example: pitchpipe approve 3 --reason "looked at its mistakes"
    """
    tracking = _opened(project)
    from flows.registry.listing import find_version
    from flows.registry.promotion.commands import approve_version

    number = find_version(tracking, version).version
    moved = approve_version(tracking, number, reason=reason, gate=project.params.gate)
    _conclude(project, moved, as_json=as_json)


@with_params(model=True)
def adopt(project: Project, *, reason: ReasonOption = "", as_json: JsonOption = False) -> None:
    """Accept a champion that was set outside pitchpipe, such as in the MLflow UI.

    Example: pitchpipe adopt --reason "emergency, agreed with everybody"
    """
    from flows.registry.promotion.commands import adopt_champion

    _conclude(project, adopt_champion(_opened(project), reason=reason), as_json=as_json)


@with_params(model=True)
def audit(
    project: Project,
    *,
    verify: Annotated[  # noqa: ARG001 - of earlier releases, whose scripts give it
        bool, typer.Option("--verify", help="Of earlier releases: the ledger is always verified.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the ledger and verify it; exits 1 where it is not valid.

    Its chain of digests is checked, its length against MLflow, the champion against the alias.
    --json has long reasons in full.

    Example: pitchpipe audit --json
    """
    tracking = project.reading()
    from flows.cli.display.versions import print_audit
    from flows.registry.promotion.audit import audit_ledger

    found = audit_ledger(tracking)
    if as_json:
        emit({"entries": found.entries, "valid": found.valid, "problems": found.problems})
    else:
        print_audit(found)
    if not found.valid:
        raise typer.Exit(1)


@with_params(model=True)
def trace(project: Project, version: VersionArgument, *, as_json: JsonOption = False) -> None:
    """Show the lineage of a version: data, params, code, environment, seed, trial.

    Example: pitchpipe trace champion --json
    """
    tracking = project.reading()
    from flows.cli.display.versions import print_facts, trace_document
    from flows.registry.loading import open_version

    document = trace_document(open_version(tracking, version))
    emit(document) if as_json else print_facts(document)


@with_params(model=True)
def sync(project: Project, *, as_json: JsonOption = False) -> None:
    """Bring MLflow up to date with the trial store, after an outage or a lost database.

    Example: pitchpipe sync
    """
    tracking = project.tracking()
    from flows.cli.display.project import print_sync
    from flows.tracking.reconcile import sync_runs

    report = sync_runs(tracking)
    emit(report) if as_json else print_sync(report)


def _opened(project: Project) -> "Tracking":
    """Open MLflow for a command that moves the champion, and can tell whom it shall."""
    from flows.retraining.notify_apprise import check_notify

    check_notify(project.params.notify)
    return project.tracking()


def _conclude(project: Project, moved: "Move", *, as_json: bool) -> None:
    """Print what was done, then tell the receivers of `notify:`."""
    from flows.cli.display.versions import moved_document, print_moved
    from flows.retraining.notify_moves import notify_of_move

    emit(moved_document(moved)) if as_json else print_moved(moved)
    notify_of_move(moved, project.params.notify)


def _warn_if_moved(tracking: "Tracking") -> None:
    from flows.registry.promotion.commands import hand_moved

    moved = hand_moved(tracking)
    if moved:
        typer.echo(f"pitchpipe: {moved}", err=True)
