"""The command line called in this process, in a project with two versions of `bars`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pitchpipe(
    bars: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command in the project: exit code, standard output, standard error."""
    assert bars.is_dir()

    # Standard output is the test's; the command line would hand it to libraries.
    monkeypatch.setattr("flows.cli.main.reserve_standard_output", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


def answer(pitchpipe: Command, *arguments: str, code: int = 0) -> Any:
    """The JSON document of a command that must exit so."""
    found, out, err = pitchpipe(*arguments, "--json")
    assert found == code, err
    return json.loads(out)
