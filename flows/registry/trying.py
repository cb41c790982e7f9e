"""`python trying.py DIRECTORY`: load a version's network and predict an image, confined.

Run as a file, by `flows.registry.probing`: the package `flows.registry` imports MLflow, and this
process is confined before it imports anything of ours. It answers one line of JSON.
"""

import json
import sys
import tempfile
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

CPU_SECONDS = 300
MEMORY_BYTES = 16 * 2**30
"""Of addresses: torch's libraries with CUDA's take seven."""
TIMES_FILES = 8
"""For each byte of the version's files: read, parsed, copied, computed with."""


def main(directory: Path) -> None:
    """Print {"refused": reason or null}."""
    confinement = _beside("confinement")
    size = sum(path.stat().st_size for path in directory.rglob("*"))
    confinement.confine(memory_bytes=MEMORY_BYTES + TIMES_FILES * size, cpu_seconds=CPU_SECONDS)
    # torch asks for one as it is imported; Python would look for one that can be written to.
    tempfile.tempdir = str(Path.cwd())
    # These sources, whichever tree is installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    # What loading would import later, and make folders for (TORCHINDUCTOR_CACHE_DIR).
    import_module("torch.export.pt2_archive")
    from flows.registry.probing import try_network  # noqa: PLC0415 - confined by now

    confinement.refuse_calls()
    sys.stdout.write(json.dumps({"refused": try_network(directory)}) + "\n")


def _beside(name: str) -> ModuleType:
    """Import a module that lies beside this file, without the package it is in."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]))
