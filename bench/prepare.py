"""How fast are images prepared, and in how much memory? Run alone: `python bench/prepare.py`.

Each case is a process of its own; its anonymous resident memory (RssAnon, children included) is
sampled every 20 ms. Rates cover everything `prepare` does: images a second of wall time, imports
left out, and of processor time, imports included, which other work on the machine disturbs less.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from models.datasets.batches import write_batch
from models.datasets.labelled_images import EncodedRows, PixelRows, Rows

PIECE = 8192


@dataclass(frozen=True, slots=True)
class Case:
    """One preparation."""

    title: str
    images: int
    encoded: bool
    cores: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a preparation took."""

    seconds: float
    """Of wall time."""
    used: float
    """Of processor time, all processes."""
    peak: float
    """Of anonymous resident memory, MB, all processes."""


def main() -> None:
    """Print the table, or be the process of one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    cases = [
        Case("pixels, 28x28, one core", options.images, encoded=False, cores=1),
        Case(f"PNG files, 28x28, {cores} cores", options.files, encoded=True, cores=cores),
    ]
    print(
        f"{'case':30} {'images':>9} {'seconds':>8} {'images/s':>9} {'a CPU s':>8} {'RssAnon':>10}"
    )
    for case in cases:
        took = measure(case)
        print(
            f"{case.title:30} {case.images:>9,} {took.seconds:>8.1f} "
            f"{case.images / took.seconds:>9,.0f} {case.images / took.used:>8,.0f} "
            f"{took.peak:>7,.0f} MB",
            flush=True,
        )


def measure(case: Case) -> Measured:
    """Write the case's batch and prepare it."""
    folder = Path(tempfile.mkdtemp(prefix="prepare-bench-"))
    try:
        raw = folder / "raw"
        raw.mkdir()
        write_batch(raw / "a.parquet", tuple("0123456789"), pieces(case))
        return prepared_in_a_process(raw, folder / "prepared", case.cores)
    finally:
        shutil.rmtree(folder)


def pieces(case: Case) -> Iterator[Rows]:
    """Different images of noise, in ten classes; noise is what PNG compresses worst."""
    generator = np.random.default_rng(0)
    size = 1024 if case.encoded else PIECE
    for start in range(0, case.images, size):
        count = min(size, case.images - start)
        pixels = generator.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
        labels = np.arange(start, start + count) % 10
        undeclared = (None,) * count
        if case.encoded:
            files = tuple(png(image[:, :, 0]) for image in pixels)
            yield EncodedRows(files, ("",) * count, labels, undeclared)
        else:
            yield PixelRows(pixels, labels, undeclared)


def png(pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def prepared_in_a_process(raw: Path, prepared: Path, cores: int) -> Measured:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from models.config import DataParams\n"
        "from models.datasets.prepare import prepare\n"
        "if __name__ == '__main__':\n"
        "    start = time.perf_counter()\n"
        "    prepare(Path(sys.argv[1]), Path(sys.argv[2]), DataParams(name='bench'))\n"
        "    print(time.perf_counter() - start)\n"
    )
    script = prepared.with_name("prepare_once.py")
    script.write_text(code)
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(script), str(raw), str(prepared)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    )
    os.sched_setaffinity(process.pid, set(range(cores)))
    used, peak = 0.0, 0.0
    while process.poll() is None:
        now = usage(process.pid)
        used, peak = max(used, now[0]), max(peak, now[1])
        time.sleep(0.02)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(process.returncode)
    return Measured(float(process.stdout.read()), used, peak)


def usage(pid: int) -> tuple[float, float]:
    """Processor seconds so far and RssAnon in MB, of a process and all below it."""
    seconds, anonymous = 0.0, 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            seconds += times.user + times.system
            status = Path(f"/proc/{process.pid}/status").read_text()
            lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
            anonymous += sum(int(line.split()[1]) for line in lines)
    except (psutil.Error, OSError):
        return 0.0, 0.0
    return seconds, anonymous / 1024


if __name__ == "__main__":
    main()
