"""Folders of images: `cat/*.png`, or `train/cat/*.png` and `test/cat/*.png`."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.config import SplitName
from models.datasets.labelled_images import EncodedRows, Source
from models.datasets.sources.paths import class_names, regular_file, shown, slug, split_named
from models.errors import InputError, quantity

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
MAX_FILE_BYTES = 2**28
_PIECE_FILES = 1024
_PIECE_BYTES = 2**24
_LAYOUT = "images belong into class folders: cat/1.png, or train/cat/1.png"
_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    label: int
    split: SplitName | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk through a folder, and the files that it ignored."""

    root: Path
    passed_over: list[Path] = field(default_factory=list)
    """Files that are no images."""

    def entries(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return subfolders and image files, sorted by name, without hidden ones and junk."""
        folders, images = [], []
        for path in sorted(_list(folder)):
            if path.name.startswith(".") or path.name in _JUNK:
                continue
            self._refuse_link_outside(path)
            if path.is_dir():
                folders.append(path)
            elif path.suffix.lower() in SUFFIXES:
                images.append(path)
            else:
                self.passed_over.append(path)
        return folders, images

    def _refuse_link_outside(self, path: Path) -> None:
        if not path.is_symlink():
            return
        # Not Path.resolve, which raises for a link to itself.
        target = Path(os.path.realpath(path))
        if target.is_dir() or not target.is_relative_to(os.path.realpath(self.root)):
            raise InputError(
                f"{shown(path)}: links to {shown(target)}, "
                "and only links to files within the source are followed; copy what it links to"
            )


def image_folder(folder: Path) -> Source:
    """Return the images of class folders, which may be in folders named after splits.

    Raises InputError where there are no class folders, or images outside of them.
    """
    walk = _Walk(folder)
    parts = _split_folders(walk) or {None: folder}
    classes, found = _classes(walk, parts)
    if not found:
        raise InputError(f"{shown(folder)}: holds no images; {_LAYOUT}")
    return Source(
        slug(folder.resolve().name),
        classes,
        rows=lambda: _rows(folder, found),
        warnings=_ignored(walk),
    )


def image_files(folder: Path) -> Iterator[Path]:
    """Yield every image file below a folder, sorted by path.

    Raises InputError for links that leave the folder, as `image_folder` does.
    """
    yield from _images_below(_Walk(folder), folder)


def _images_below(walk: _Walk, folder: Path) -> Iterator[Path]:
    folders, images = walk.entries(folder)
    yield from images
    for inner in folders:
        yield from _images_below(walk, inner)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{shown(folder)}: {error.strerror}; make it readable") from error


def _split_folders(walk: _Walk) -> dict[SplitName | None, Path]:
    """Return the folders of splits; none where the top folders are classes."""
    folders, images = walk.entries(walk.root)
    _refuse_loose(images, walk.root)
    named = {folder: split_named(folder.name) for folder in folders}
    if not folders or not all(named.values()):
        return {}
    splits: dict[SplitName | None, Path] = {}
    for folder, split in named.items():
        _refuse_loose(walk.entries(folder)[1], folder)
        if split in splits:
            raise InputError(f"{shown(folder)}: split {split} has two folders; make them one")
        splits[split] = folder
    return splits


def _classes(
    walk: _Walk, parts: Mapping[SplitName | None, Path]
) -> tuple[tuple[str, ...], list[_Found]]:
    where = shown(walk.root)
    folders = {split: walk.entries(folder)[0] for split, folder in parts.items()}
    # Two folders of one split must not become one class; those of different splits are the same.
    named = {
        split: class_names((folder.name for folder in inner), where=where)
        for split, inner in folders.items()
    }
    classes = class_names(sorted(set().union(*named.values())), where=where)
    number = {name: label for label, name in enumerate(classes)}
    found = [
        _Found(image, number[name], split)
        for split, inner in folders.items()
        for folder, name in zip(inner, named[split], strict=True)
        for image in _images_of(walk, folder)
    ]
    return classes, found


def _images_of(walk: _Walk, folder: Path) -> list[Path]:
    folders, images = walk.entries(folder)
    for inner in folders:
        if next(_images_below(walk, inner), None) is not None:
            raise InputError(f"{shown(inner)}: images below a class folder; {_LAYOUT}")
    return images


def _refuse_loose(images: list[Path], folder: Path) -> None:
    if images:
        raise InputError(
            f"{shown(images[0])}: an image outside of class folders, as are "
            f"{len(images) - 1} more in {shown(folder.name)}; {_LAYOUT}"
        )


def _ignored(walk: _Walk) -> tuple[str, ...]:
    # Folders are walked through more than once.
    files = sorted(set(walk.passed_over))
    if not files:
        return ()
    are = "is no image was" if len(files) == 1 else "are no images were"
    return (f"{quantity(len(files), 'file')} that {are} passed over, such as {shown(files[0])}",)


def _rows(root: Path, found: list[_Found]) -> Iterator[EncodedRows]:
    piece: list[_Found] = []
    files: list[bytes | InputError] = []
    length = 0
    for image in found:
        file = _try_to_read(image.path)
        files.append(file)
        piece.append(image)
        length += len(file) if isinstance(file, bytes) else 0
        if len(piece) == _PIECE_FILES or length >= _PIECE_BYTES:
            yield _encoded(root, piece, files)
            piece, files, length = [], [], 0
    if piece:
        yield _encoded(root, piece, files)


def _try_to_read(path: Path) -> bytes | InputError:
    try:
        return read_image(path)
    except InputError as error:
        # The path is reported beside it.
        return InputError(str(error).removeprefix(f"{shown(path)}: "))


def read_image(path: Path) -> bytes:
    """Read an image file.

    Raises InputError where it is no regular file, is larger than one image, or is unreadable.
    """
    regular_file(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{shown(path)}: is larger than {MAX_FILE_BYTES} bytes; leave it out")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}; make it readable") from error


def _encoded(root: Path, piece: list[_Found], files: list[bytes | InputError]) -> EncodedRows:
    return EncodedRows(
        files=tuple(files),
        paths=tuple(shown(image.path.relative_to(root)) for image in piece),
        labels=np.array([image.label for image in piece], np.int64),
        splits=tuple(image.split for image in piece),
    )
