"""What are attribution maps worth, by network and method? `pitchpipe explain` on the digits.

The champion of `make run`, then a trial of a dense and of a recurrent network (10 epochs), all in a
scratch project, each by images of the test split drawn at random. Areas, leads and rank
correlations are means with 95 % bootstrap intervals; chance: pixels in random order. Some minutes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PITCHPIPE = Path(sys.executable).parent / "pitchpipe"
IMAGES = {"cnn": 100, "mlp": 30, "rnn": 30}
FILES = ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")


def measure() -> Iterator[str]:
    """Yield the table's lines."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in FILES:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes((ROOT / name).read_bytes())
        for network, images in IMAGES.items():
            yield from _of_network(project, network, images)


def _of_network(project: Path, network: str, images: int) -> Iterator[str]:
    plain = ("--set", f"trial.network={{name: {network}}}", "--set", "search.axes={}")
    chosen = () if network == "cnn" else (*plain, "--set", "search.epochs=10")
    made = _pitchpipe(project, "run", *chosen)
    version = str(made["version"])
    began = time.perf_counter()
    found = _pitchpipe(project, "explain", version, "--images", str(images))
    seconds = time.perf_counter() - began
    accuracy = made["test"]["accuracy"]
    yield f"{network}, test accuracy {accuracy:.4f}: {images} images judged in {seconds:.0f} s"
    yield f"  {'':22}{'deletion':>27}{'insertion':>27}{'rank correlation':>27}{'of strengths':>27}"
    first = found["methods"][0]["faithfulness"]
    yield _row("chance", first["random_deletion"], first["random_insertion"])
    for one in found["methods"]:
        areas, sanity = one["faithfulness"], one["sanity"]
        cells = (areas["deletion"], areas["insertion"], sanity["signed"], sanity["absolute"])
        yield _row(one["method"], *cells)
        yield _row("  ahead of chance", areas["deletion_lead"], areas["insertion_lead"])


def _row(name: str, *estimates: dict[str, Any]) -> str:
    cells = (
        f"{one['mean']:.3f} ({one['interval']['low']:.3f} to {one['interval']['high']:.3f})"
        for one in estimates
    )
    return f"  {name:22}" + "".join(f"{cell:>27}" for cell in cells)


def _pitchpipe(project: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [PITCHPIPE, *arguments, "--json"], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        sys.exit(f"pitchpipe {' '.join(arguments)}: {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
