"""`pitchpipe ...`: parse, load, call, exit code; nothing heavy is imported before that."""

import gc
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
    project,
    registry,
    run,
    schedule,
    trials,
    versions,
)
from flows.cli.options import reserve_standard_output
from models.errors import PitchpipeError

INTERRUPTED = 128 + signal.SIGINT
# typer brings a click of its own and shows only the youngest of its usage errors.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="pitchpipe",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keeps image classifiers in tune: versioned data, searched networks, a gate to trust.",
    epilog="Example: pitchpipe run --set search.epochs=3",
)


@app.callback()
def choose_root(
    context: typer.Context,
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Project folder; default: nearest upwards with params.yaml."),
    ] = None,
) -> None:
    context.obj = root


for part in (
    run,
    data,
    trials,
    registry,
    versions,
    schedule,
    project,
):
    part.mount(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or input, 3 not promoted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    reserve_standard_output(given)
    collect_seldom()
    signal.signal(signal.SIGTERM, _terminate)
    # A shell's background job begins with Ctrl-C ignored; whoever sends SIGINT means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = _exit_code(given)
    # Else Python looks for garbage among all modules again: 1.07 s after a retraining, not 0.20.
    gc.freeze()
    sys.exit(code)


def collect_seldom() -> None:
    """Look for garbage once in 100,000 objects made, not in 700: most of ours are imported to stay.

    It is an eighth of the work of importing Prefect and MLflow (bench/startup.py).
    """
    gc.set_threshold(100_000)


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), standalone_mode=False)
    except UsageError as error:
        error.show()  # type: ignore[attr-defined] # every usage error has it
        return 2
    except PitchpipeError as error:
        _say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 1
    if code == INTERRUPTED:  # also what typer makes of Ctrl-C
        _say("interrupted; what was finished is kept, and the next run goes on from it")
    return code if isinstance(code, int) else 0


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _say(message: str) -> None:
    sys.stderr.write(f"pitchpipe: {message}\n")


if __name__ == "__main__":
    main()
