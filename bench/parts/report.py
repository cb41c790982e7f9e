"""What does a report of many classes and large images take? Seconds to write, and its bytes.

Every section, 10,000 test images of noise, which compresses worst, 24 mistakes shown. Promised: at
most 5 MB and 20 s of one core. Seconds are the processor's, the lowest of three.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))
from page_samples import drawn_images, whole_report

from models.evaluation.report.writing import write_report

IMAGES = 10_000
SIZES = ((10, 1, 28), (100, 3, 224), (1000, 3, 224))
"""Classes, channels, pixels a side."""


def measure() -> Iterator[str]:
    """Yield the table's lines."""
    yield f"{IMAGES:,} test images; promised of 100 classes at 224 x 224 x 3: 5 MB, 20 s"
    yield "classes         images      page   all files  seconds"
    for classes, channels, side in SIZES:
        one = drawn_images(1, channels, side)
        images = np.broadcast_to(one, (IMAGES, channels, side, side))
        with tempfile.TemporaryDirectory() as folder:
            seconds = min(_seconds(Path(folder), images, classes) for _ in range(3))
            pages = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
            page = (Path(folder) / "report.html").stat().st_size
        form = f"{side} x {side} x {channels}"
        yield (
            f"{classes:7,}{form:>15}{page / 1e6:6.2f} MB{sum(pages) / 1e6:8.2f} MB{seconds:8.1f}"
        )


def _seconds(folder: Path, images: np.ndarray, classes: int) -> float:
    report = whole_report(images, classes=classes)
    began = time.process_time()
    write_report(folder, report)
    return time.process_time() - began
