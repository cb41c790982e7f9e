"""Fashion-MNIST's files: where Debian's package puts them, else downloaded."""

import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path

from flows.dataset_files import STAGING
from models.datasets.sources.fashion_mnist import DIGESTS
from models.digests import digest_file
from models.errors import InputError
from models.files import replacing

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
"""The publisher's; plain http, which is why digests are checked."""
_TIMEOUT_SECONDS = 60
_ADVICE = (
    "install Debian's package dataset-fashion-mnist, or `pitchpipe data add FOLDER --dataset "
    "fashion-mnist` with the four files from elsewhere"
)


def fashion_mnist_folder(*, installed: Path = INSTALLED, url: str = URL) -> Path:
    """Return a folder that holds the four files, fetching those that it lacks.

    Raises InputError where they cannot be fetched, or what comes is not the published file.
    """
    if all((installed / name).exists() for name in DIGESTS):
        return installed
    folder = STAGING / "fashion-mnist"
    for name, digest in DIGESTS.items():
        if not (folder / name).exists():
            _fetch(url + name, folder / name, digest)
    return folder


def _fetch(url: str, target: Path, digest: str) -> None:
    try:
        with (
            replacing(target) as temporary,
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
            file.flush()
            found = digest_file(temporary)
            if found != digest:
                raise InputError(f"{url}: SHA-256 {found} is not the published {digest}; {_ADVICE}")
    except (OSError, HTTPException) as error:
        raise InputError(f"{url}: cannot be fetched ({error}); go online, or {_ADVICE}") from error
