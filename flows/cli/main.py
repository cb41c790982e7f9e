"""Entry point of `pitchpipe`: parse, run, exit code; commands import what is heavy themselves."""

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from flows.cli import (
    data,
    learning_rate,
    networks,
    opening,
    project,
    registry,
    report,
    run,
    schedule,
    shadow,
    trials,
    versions,
)
from flows.cli.options import reserve_standard_output
from models.errors import PitchpipeError

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
INTERRUPTED = 128 + signal.SIGINT
# typer contains a click of its own and exports only one of its usage errors.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="pitchpipe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps image classifiers in tune: versioned data, network search, a gate for promotion.",
    epilog="Example: pitchpipe run --set search.epochs=3",
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from importlib.metadata import version  # 20 ms that others need not

        typer.echo(f"pitchpipe {version('pitchpipe')}")
        raise typer.Exit


@app.callback()
def choose_root(
    context: typer.Context,
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Project folder; default: nearest upwards with params.yaml."),
    ] = None,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version  # its callback has answered
    context.obj = root


PARTS = (
    run,
    data,
    networks,
    learning_rate,
    trials,
    registry,
    versions,
    report,
    schedule,
    opening,
    shadow,
    project,
)
for part in PARTS:
    part.mount(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or input, 3 not promoted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    reserve_standard_output(given)
    replace_unwritable()
    collect_rarely()
    signal.signal(signal.SIGTERM, _terminate)
    # A background job of a shell starts with SIGINT ignored; it must end on one all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = _exit_code(given)
    finally:  # SIGTERM comes out of it, too
        # Saves a last collection over all modules: 1.07 s to 0.20 s after a retraining.
        gc.freeze()
    sys.exit(code)


def collect_rarely() -> None:
    """Collect garbage every 100,000 allocations instead of 700: imported objects stay.

    Saves an eighth of the time of importing Prefect and MLflow (bench/startup.py).
    """
    gc.set_threshold(100_000)


def replace_unwritable() -> None:
    """Print `?` for what a terminal's encoding lacks, where Python would raise."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not _writes_all(sys.stdout.encoding):
        sys.stdout.reconfigure(errors="replace")


def _writes_all(encoding: str) -> bool:
    return encoding.lower().startswith("utf")


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), standalone_mode=False)
    except UsageError as error:
        error.show()  # type: ignore[attr-defined] # of all usage errors
        return 2
    except PitchpipeError as error:
        _print_error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        said = error.strerror or error
        _print_error(f"{error.filename or 'the system'}: {said}{_way_out(error)}")
        return 1
    if code == INTERRUPTED:  # typer returns it on Ctrl-C, too
        _print_error("interrupted; finished work is kept, and the next run continues from it")
    return code if isinstance(code, int) else 0


def _way_out(error: OSError) -> str:
    """What to do where the project cannot be written to; empty where something else is wrong."""
    place = Path(str(error.filename or "")).absolute()
    if error.errno not in _NOT_WRITABLE or not place.is_relative_to(Path.cwd()):
        return ""
    return (
        "; this command writes to the project: let it be written to, or copy it (`cp -r`) to where "
        "you may write. `versions`, `card`, `predict` and `export` need only read it"
    )


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _print_error(message: str) -> None:
    sys.stderr.write(f"pitchpipe: {message}\n")


if __name__ == "__main__":
    main()
