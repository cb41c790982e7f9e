"""What code and which packages training runs on; computed without importing torch."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from models.digests import digest_source

_MODELS = Path(__file__).resolve().parents[1]
_FOLDERS = ("augmentations", "networks", "optimizers", "training")
_FILES = (
    "trials.py",
    "record.py",
    "config/schedules.py",
    "config/start.py",
    "config/trial.py",
    "datasets/prepared.py",
)
_PACKAGES = ("torch", "pytorch-lightning", "numpy")


def training_source_digest() -> str:
    """Digest of the statements that training runs; comments and docstrings do not count."""
    return digest_source(training_files(), relative_to=_MODELS)


@cache
def imported_source_digest() -> str:
    """Digest of the code that this process trains with; to be asked for just before it is imported.

    Children of a fork server inherit the answer with the code.
    """
    return training_source_digest()


def training_files() -> list[Path]:
    """Source files whose statements decide a trial's bits."""
    found = [path for folder in _FOLDERS for path in (_MODELS / folder).rglob("*.py")]
    return [*found, *(_MODELS / name for name in _FILES)]


def package_versions() -> dict[str, str]:
    """Installed versions of the packages whose arithmetic decides a trial's bits."""
    return {package: version(package) for package in _PACKAGES}
