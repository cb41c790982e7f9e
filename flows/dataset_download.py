"""Fashion-MNIST's files: where Debian's package puts them, else downloaded."""

import shutil
import urllib.request
from pathlib import Path

from flows.dataset_files import STAGING
from models.datasets.sources.fashion_mnist import DIGESTS
from models.errors import InputError
from models.files import replacing

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
"""The publisher's; plain http, which is why digests are checked."""
_TIMEOUT_SECONDS = 60


def fashion_mnist_folder(*, installed: Path = INSTALLED, url: str = URL) -> Path:
    """Return a folder that holds the four files, fetching those that it lacks.

    Their digests are for the reader to check. Raises InputError where they cannot be fetched.
    """
    if all((installed / name).exists() for name in DIGESTS):
        return installed
    folder = STAGING / "fashion-mnist"
    for name in DIGESTS:
        if not (folder / name).exists():
            _fetch(url + name, folder / name)
    return folder


def _fetch(url: str, target: Path) -> None:
    try:
        with (
            replacing(target) as temporary,
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise InputError(
            f"{url}: cannot be fetched ({error}); install the package dataset-fashion-mnist, put "
            f"the four files into {target.parent}, or go online"
        ) from error
