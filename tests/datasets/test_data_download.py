"""Fashion-MNIST over the network: fetched whole, compared with what was published, or refused."""

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.datasets.files import STAGING
from flows.datasets.ingest import fashion_mnist_folder
from models.datasets.sources.builtin import FASHION_MNIST_DIGESTS as DIGESTS
from models.errors import InputError

IMAGES = "train-images-idx3-ubyte.gz"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four short files that stand in for the published ones, digests included."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "published"
    folder.mkdir()
    for name in DIGESTS:
        content = name.encode() * 10_000
        (folder / name).write_bytes(content)
        monkeypatch.setitem(DIGESTS, name, hashlib.sha256(content).hexdigest())
    return folder


@pytest.fixture
def url(published: Path) -> Iterator[str]:
    """Where they are served."""
    handler = functools.partial(_Quiet, directory=str(published))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def _fetched(url: str) -> Path:
    return fashion_mnist_folder(installed=Path("not-installed"), url=url)


def test_the_four_files_are_fetched(published: Path, url: str) -> None:
    """Byte for byte as they are served."""
    folder = _fetched(url)
    for name in DIGESTS:
        assert (folder / name).read_bytes() == (published / name).read_bytes()


def test_what_is_here_is_not_fetched_again(published: Path, url: str) -> None:
    """After an interruption only what is missing is asked for."""
    folder = _fetched(url)
    (folder / IMAGES).unlink()
    for name in DIGESTS.keys() - {IMAGES}:
        (published / name).unlink()
    assert _fetched(url) == folder
    assert (folder / IMAGES).exists()


@pytest.mark.parametrize("content", [b"<html>log in to this network</html>", b""])
def test_another_file_is_refused_and_not_kept(published: Path, url: str, content: bytes) -> None:
    """A wrong digest names both and the way out; once the server is well, it works."""
    right = (published / IMAGES).read_bytes()
    (published / IMAGES).write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=f"{found} is not the published {DIGESTS[IMAGES]}"):
        _fetched(url)
    assert not [path for path in STAGING.rglob("*") if path.name.startswith((IMAGES, "."))]
    (published / IMAGES).write_bytes(right)
    assert (_fetched(url) / IMAGES).read_bytes() == right


def test_a_missing_file_is_named(published: Path, url: str) -> None:
    """404 is an answer to say something about."""
    (published / IMAGES).unlink()
    with pytest.raises(InputError, match=f"{IMAGES}: cannot be fetched .*404"):
        _fetched(url)


def test_offline_there_is_a_way(published: Path) -> None:
    """No server: the message says which file, and what to do instead."""
    assert published.exists()
    with pytest.raises(InputError, match=r"go online, or install .* data add FOLDER --dataset"):
        _fetched("http://127.0.0.1:9/")
