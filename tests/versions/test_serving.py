"""`pitchpipe serve`: MLflow's scoring server on loopback, asked as the README shows."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from project_folder import ProjectFolder, Ran, clean_environment, code_blocks

from flows.runtime.servers import answers, free_port


@pytest.fixture(scope="module")
def served(retrained: tuple[ProjectFolder, Ran]) -> Iterator[tuple[ProjectFolder, int]]:
    """The champion of the digits, served on a free port."""
    folder, ran = retrained
    assert ran.code == 0, ran.err
    port = free_port(0)
    process = folder.start("serve", "--port", str(port))
    said: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "Uvicorn running" in line:
                break
        assert answers(f"http://127.0.0.1:{port}/ping"), "".join(said)
        # Somebody must read on, or the server would wait for its own log.
        threading.Thread(target=process.communicate, daemon=True).start()
        yield folder, port
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []  # no worker outlives the command


@pytest.fixture
def asked(served: tuple[ProjectFolder, int]) -> subprocess.CompletedProcess[str]:
    """The example of the README, run by a shell."""
    folder, port = served
    (example,) = code_blocks("bash")
    assert ":5001/" in example
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.replace(":5001", f":{port}")],
        cwd=folder.root,
        env={**clean_environment(), "PATH": beside},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_curl_gets_the_champions_probabilities(
    served: tuple[ProjectFolder, int],
    retrained: tuple[ProjectFolder, Ran],
    asked: subprocess.CompletedProcess[str],
) -> None:
    """A row an image, a number a class; those that the evaluation had."""
    folder, _ = served
    assert asked.returncode == 0, asked.stderr
    predictions = np.array(json.loads(asked.stdout)["predictions"])
    evaluated = np.load(
        (folder.root / retrained[1].document["report"]).parent / "probabilities.npy"
    )
    assert predictions.shape == (2, 10)
    assert np.allclose(predictions, evaluated[:2], rtol=1e-5)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, 400),  # asked, and found wanting
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain", "Origin": "http://127.0.0.1:9"}, 403),
        ({"Content-Type": "text/plain", "Origin": "null"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 400),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}, 403),
    ],
)
def test_pages_of_other_origins_are_not_served(
    served: tuple[ProjectFolder, int], headers: dict[str, str], code: int
) -> None:
    """Programs of this machine are; a name that was led here is no name of it."""
    _, port = served
    url = f"http://127.0.0.1:{port}/invocations"

    answered = httpx.post(url, content=b"{}", headers=headers)

    assert answered.status_code == code
    assert ("Invalid host header" in answered.text) == ("Host" in headers)


def test_only_this_machine_is_served(served: tuple[ProjectFolder, int]) -> None:
    """The port is bound to loopback and nowhere else."""
    _, port = served
    family = psutil.Process().children(recursive=True)  # the server is one; macOS shows no others'
    ends = {
        end.laddr
        for process in family
        for end in process.net_connections(kind="tcp")
        if end.status == psutil.CONN_LISTEN and end.laddr.port == port
    }
    assert ends == {("127.0.0.1", port)}
