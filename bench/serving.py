"""Serving: `pitchpipe serve` beside `mlflow models serve` and the bare network.

Usage: python bench/serving.py [--output bench/results/serving.txt]   (6 minutes)

The article's CNN on digits of 28 x 28, trained for an epoch. Both servers get the same body at
/invocations, by turns, over connections that stay open; client and servers share this machine's
cores. One client: how long an answer takes. Sixteen: how many are given. The bare network is called
in this process, on one thread. Then requests batched in three ways, and a champion that is promoted
and rolled back under load.
"""

import argparse
import base64
import contextlib
import http.client
import io
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PROJECT_FILES = ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
TRAIN = ("search.epochs=1", "search.axes={seed: [0]}", "trial.augmentation={name: none}")
CROWD = 16
WAYS = {"each by itself": ("1", "0"), "what waits": ("64", "0"), "2 ms of waiting": ("64", "2")}
"""--max-batch and --batch-wait-ms."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is sent again and again."""

    path: str
    kind: str
    content: bytes
    images: int


@dataclass(slots=True)
class Measured:
    """Answers of some seconds."""

    seconds: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.wall

    def quantile(self, share: float) -> float:
        """Milliseconds within which such a share was answered."""
        return 1000 * float(np.quantile(self.seconds, share))


def client(port: int, asked: Asked, measured: Measured, ended: threading.Event) -> None:
    """Ask over one connection until the end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"Content-Type": asked.kind}
    while not ended.is_set():
        began = time.perf_counter()
        connection.request("POST", asked.path, asked.content, headers)
        answer = connection.getresponse()
        answer.read()
        measured.seconds.append(time.perf_counter() - began)
        measured.codes[answer.status] += 1
        measured.versions[answer.headers.get("X-Pitchpipe-Version", "")] += 1
    connection.close()


@contextlib.contextmanager
def load(port: int, asked: Asked, clients: int) -> Iterator[Measured]:
    """Ask by so many clients while the block lasts."""
    measured, ended = Measured(), threading.Event()
    arguments = (port, asked, measured, ended)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield measured
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        measured.wall = time.perf_counter() - began


def measure(port: int, asked: Asked, clients: int, seconds: float) -> Measured:
    with load(port, asked, clients) as measured:
        time.sleep(seconds)
    if set(measured.codes) != {200}:
        sys.exit(f"{asked.path}: {measured.codes}")
    return measured


@contextlib.contextmanager
def serving(command: Sequence[str | Path], port: int) -> Iterator[int]:
    """Start a server, wait until it answers, end it."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # `mlflow models serve` starts uvicorn by name
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, "PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not pings(port):
                if process.poll() is not None:
                    log.seek(0)
                    sys.exit(log.read())
                time.sleep(0.2)
            yield port
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def pings(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def pitchpipe(*options: str) -> tuple[Path | str, ...]:
    return (BIN / "pitchpipe", "serve", *options)


def free_ports() -> Iterator[int]:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        yield port


def array(images: NDArray[np.uint8]) -> Asked:
    content = json.dumps({"inputs": images.tolist()}).encode()
    return Asked("/invocations", "application/json", content, len(images))


def npy(images: NDArray[np.uint8]) -> Asked:
    file = io.BytesIO()
    np.save(file, images)
    return Asked("/predict", "application/x-npy", file.getvalue(), len(images))


def pngs(images: NDArray[np.uint8]) -> Asked:
    """One as it is, several as base64."""
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "PNG")
        files.append(file.getvalue())
    if len(files) == 1:
        return Asked("/predict", "image/png", files[0], 1)
    listed = {"images": [base64.b64encode(file).decode() for file in files]}
    return Asked("/predict", "application/json", json.dumps(listed).encode(), len(files))


def bare(images: NDArray[np.uint8], seconds: float) -> Measured:
    """The network that `serve` has, called on one thread."""
    from flows.registry.loading import load_version  # noqa: PLC0415 - the project is made by now
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    version = load_version(open_tracking("digits-classifier"), 1)
    measured, began = Measured(), time.perf_counter()
    while (measured.wall) < seconds:
        called = time.perf_counter()
        version.predict(images, threads=1)
        measured.seconds.append(time.perf_counter() - called)
        measured.wall = time.perf_counter() - began
    return measured


def row(title: str, rounds: Sequence[Measured], images: int) -> str:
    """Medians over the rounds."""
    rate = statistics.median(one.rate for one in rounds)
    p50, p99 = (statistics.median(one.quantile(share) for one in rounds) for share in (0.5, 0.99))
    return f"{rate:>9,.0f} {rate * images:>9,.0f} {p50:>8.2f} {p99:>8.2f}  {title}"


HEAD = (
    f"{'requests':>9} {'images':>9} {'p50':>8} {'p99':>8}\n{'/s':>9} {'/s':>9} {'ms':>8} {'ms':>8}"
)


def beside(images: NDArray[np.uint8], ports: Iterator[int], rounds: int) -> Iterator[str]:
    """Both servers by turns, one image and 64 at once."""
    directory = next(Path("mlruns/artifacts").rglob("MLmodel")).parent
    mlflow = (BIN / "mlflow", "models", "serve", "-m", directory, "--env-manager", "local")
    with serving(pitchpipe(), next(ports)) as ours, serving(mlflow, next(ports)) as theirs:
        for count, clients in itertools.product((1, 64), (1, CROWD)):
            few = images[:count]
            kinds = {
                "pitchpipe serve, /invocations": (ours, array(few)),
                "mlflow models serve, /invocations": (theirs, array(few)),
                "pitchpipe serve, /predict, PNG": (ours, pngs(few)),
                "pitchpipe serve, /predict, .npy": (ours, npy(few)),
            }
            found: dict[str, list[Measured]] = {title: [] for title in kinds}
            for _ in range(rounds):
                for title, (port, asked) in kinds.items():
                    found[title].append(measure(port, asked, clients, seconds=3))
            noun = "image" if count == 1 else "images"
            yield f"\n{count} {noun} a request, {clients} clients\n{HEAD}"
            for title, measured in found.items():
                yield row(title, measured, count)
            if clients == 1:
                called = [bare(few, 1) for _ in range(rounds)]
                yield row("the bare network", called, count)


def batches(images: NDArray[np.uint8], ports: Iterator[int], rounds: int) -> Iterator[str]:
    """One image a request, put together for the network in three ways."""
    for clients in (1, CROWD):
        yield f"\nbatches: 1 image a request (.npy), {clients} clients\n{HEAD}"
        found: dict[str, list[Measured]] = {title: [] for title in WAYS}
        with contextlib.ExitStack() as stack:
            servers = {
                title: stack.enter_context(
                    serving(pitchpipe("--max-batch", most, "--batch-wait-ms", wait), next(ports))
                )
                for title, (most, wait) in WAYS.items()
            }
            for _ in range(rounds):
                for title, port in servers.items():
                    found[title].append(measure(port, npy(images[:1]), clients, seconds=3))
        for title, measured in found.items():
            yield row(title, measured, 1)


def swaps(images: NDArray[np.uint8], ports: Iterator[int], least: int) -> Iterator[str]:
    """Promote and roll back until so many were answered."""
    with serving(pitchpipe(), next(ports)) as port:
        moved, waits = 0, list[float]()
        with load(port, pngs(images[:1]), 4) as measured:
            while measured.codes.total() < least or moved < 4:
                version = "2" if moved % 2 == 0 else "1"
                move = ("promote", "2", "--force") if version == "2" else ("rollback",)
                run(*move, "--reason", "bench")
                began, before = time.perf_counter(), measured.versions[version]
                while measured.versions[version] == before:
                    time.sleep(0.01)
                waits.append(time.perf_counter() - began)
                moved += 1
    failed = measured.codes.total() - measured.codes[200]
    yield f"\nhot swap under the load of 4 clients: {moved} moves of the champion"
    yield f"{measured.codes.total():>9,}  requests, {failed} failed"
    yield f"{measured.quantile(0.5):>9.2f}  ms p50; p99 {measured.quantile(0.99):.2f}, the slowest"
    yield f"{1000 * max(measured.seconds):>9.2f}  ms"
    yield f"{max(waits):>9.2f}  s at most from the command's end to the new version's first answer"


def run(*arguments: str) -> None:
    done = subprocess.run([BIN / "pitchpipe", *arguments], capture_output=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(f"{arguments}: {done.stderr.decode()[-2000:]}")


def make_project() -> None:
    """Two versions, the first champion."""
    for name in PROJECT_FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, name)
    run("run", *(word for pair in TRAIN for word in ("--set", pair)))
    other = ("search.axes={seed: [1]}", "search.epochs=2")
    run("run", *(word for pair in (*TRAIN, *other) for word in ("--set", pair)))
    run("rollback", "--to", "1", "--reason", "bench")


def table(rounds: int, least: int) -> Iterator[str]:
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; medians of {rounds}"
    make_project()
    images, ports = np.load("data/prepared/test/images.npy")[:64], free_ports()
    yield from beside(images, ports, rounds)
    yield from batches(images, ports, rounds)
    yield from swaps(images, ports, least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000)
    options = parser.parse_args()
    output = options.output.resolve() if options.output else None
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line in table(options.rounds, options.requests):
            print(line, flush=True)
            lines.append(line)
        os.chdir(REPOSITORY)
    if output:
        output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
