"""Relabelling: other labels for images that are there, as a new immutable file of the dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.datasets.current import PREPARED, prepare_dataset
from flows.datasets.dvc import push
from flows.datasets.files import RAW, data_lock, raw_version
from flows.datasets.ingest import place, settle_version, staging
from flows.datasets.split_moves import known_ids
from flows.datasets.versions import DatasetIdentity, dataset_identity, log_version
from models.config import DataParams, Record, SplitName
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import Manifest, open_split, read_manifest
from models.datasets.raw import RELABELLING, relabelling_files
from models.datasets.sources.label_lists import (
    LabelLine,
    describe_faults,
    fault_of,
    read_label_list,
)
from models.datasets.sources.paths import shown
from models.datasets.sources.relabelling import (
    Overrides,
    Relabel,
    overrides_of,
    read_relabelling,
    write_relabelling,
)
from models.digests import digest_file
from models.errors import BusyError, InputError

YARDSTICK = (
    "test images are the yardstick: the gate scores champion and challenger on the new labels "
    "alike, looks at these images still count, and a pair that was judged before is a new look. "
    "Labels looked up where the champion disagrees lean towards it, for its errors are looked at "
    "and what it has right by a wrong label is not"
)


class Relabelled(Record):
    """Result of a relabelling."""

    file: str
    """That holds it, in data/raw/."""
    is_new: bool
    """False: the last relabelling said the same, and nothing was added."""
    changed: int
    """Images with another label."""
    dropped: int
    unchanged: int
    """Lines that named the label that the image had; left out."""
    splits: dict[SplitName, int]
    """Images changed or dropped in each split; those that were in none are left out."""
    before: str
    """Digest of the dataset without it, which `data restore` takes back."""
    dataset: DatasetIdentity
    """With it."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of the prepared arrays."""

    label: str
    split: SplitName


@dataclass(frozen=True, slots=True)
class _Present:
    """The dataset as it is, under data_lock."""

    manifest: Manifest
    images: Mapping[bytes, _Image]
    """By id."""
    overrides: Overrides
    """What earlier relabellings come to."""


def relabel_images(path: Path, data: DataParams, *, test: bool) -> Relabelled:
    """Give images of the dataset the labels of a list, as a new relabelling, versioned by DVC.

    Images keep their ids and splits. test: whether test images may be among them. Raises InputError
    with every fault of the list, and where nothing would change or a class would be left without
    images; data/ is then unchanged.
    """
    prepare_dataset(data)
    lines = read_label_list(path, classes=read_manifest(PREPARED).classes)
    with data_lock():
        settle_version(data.name)
        present = _present(data)
        _refuse_unknown(path, lines, data)
        changes = _changes(lines, present)
        again = _said_before(lines, data.name)
        if again is not None and not changes:
            return _result(again, lines, present, changes=read_relabelling(again), is_new=False)
        _refuse_changes(path, changes, present, test=test)
        file = _add(changes, data.name)
        log_version(data.name)
    push(data.name)
    return _result(file, lines, present, changes=changes, is_new=True)


def _present(data: DataParams) -> _Present:
    manifest = read_manifest(PREPARED)
    if manifest.raw_digest != raw_version(data.name).digest or manifest.params != data:
        raise BusyError(
            f"{PREPARED}: another command changed data/ meanwhile; relabel again once it has ended"
        )
    images: dict[bytes, _Image] = {}
    for name in SPLITS:
        split = open_split(PREPARED, name, verify=False)
        for row, label in zip(split.ids, split.labels.tolist(), strict=True):
            images[row.tobytes()] = _Image(manifest.classes[label], name)
    return _Present(manifest, images, overrides_of(relabelling_files(RAW / data.name)))


def _refuse_unknown(path: Path, lines: Sequence[LabelLine], data: DataParams) -> None:
    known = {row.tobytes() for row in known_ids(data)}
    unknown = [
        fault_of(
            line,
            f"no image of {data.name} has the id {line.id[:12]}...; `pitchpipe data triage` lists "
            "images with their ids",
        )
        for line in lines
        if bytes.fromhex(line.id) not in known
    ]
    if unknown:
        raise InputError(f"{shown(path)}: nothing was changed\n{describe_faults(unknown)}")


def _changes(lines: Sequence[LabelLine], present: _Present) -> tuple[Relabel, ...]:
    """Lines that make a difference: another label, or one where there was none."""
    return tuple(_differing(lines, present))


def _differing(lines: Sequence[LabelLine], present: _Present) -> Iterator[Relabel]:
    for line in lines:
        key = bytes.fromhex(line.id)
        image = present.images.get(key)
        was = image.label if image else None
        said = key in present.overrides and present.overrides[key] == line.label
        if not said and (image is None or image.label != line.label):
            yield Relabel(id=line.id, label=line.label, was=was)


def _said_before(lines: Sequence[LabelLine], name: str) -> Path | None:
    """Return the last relabelling where it says the same: its command was killed, or is repeated.

    Lines that it left out, for they changed nothing, may be in the list.
    """
    last = relabelling_files(RAW / name)[-1:]
    asked = {(line.id, line.label) for line in lines}
    same = last and {(one.id, one.label) for one in read_relabelling(last[0])} <= asked
    return last[0] if same else None


def _refuse_changes(
    path: Path, changes: Sequence[Relabel], present: _Present, *, test: bool
) -> None:
    where = shown(path)
    if not changes:
        raise InputError(
            f"{where}: every image has the label that its line names; nothing was changed: edit "
            "the column label, or write `drop` there"
        )
    tests = [one.id for one in changes if _split_of(one, present) == "test"]
    if tests and not test:
        raise InputError(
            f"{where}: {len(tests):,} of the images, such as {tests[0][:12]}, are test images; "
            f"nothing was changed. {YARDSTICK[0].upper()}{YARDSTICK[1:]}. Remove them, or pass "
            "--test where somebody looked at them"
        )
    _refuse_emptied(where, changes, present)


def _refuse_emptied(where: str, changes: Sequence[Relabel], present: _Present) -> None:
    """Refuse what the next preparation would: a class or a split with too few images left."""
    checks = present.manifest.params.checks
    classes = Counter(image.label for image in present.images.values())
    splits = Counter(image.split for image in present.images.values())
    for one in changes:
        image = present.images.get(bytes.fromhex(one.id))
        if image is not None:
            classes[image.label] -= 1
            splits[image.split] -= one.label is None
        if one.label is not None:
            classes[one.label] += 1
    fewest = max(checks.few_images_below if checks.few_images == "error" else 0, 1)
    for name in {one.was for one in changes} - {None}:
        if classes[name or ""] < fewest:
            raise InputError(
                f"{where}: class {name!r} would have {classes[name or '']} images, fewer than "
                f"{fewest} (data.checks.few_images_below); nothing was changed: keep some, or add "
                "images of it first"
            )
    for split, images in splits.items():
        if not images:
            raise InputError(
                f"{where}: split {split} would be empty; nothing was changed: drop fewer images"
            )


def _split_of(one: Relabel, present: _Present) -> SplitName | None:
    image = present.images.get(bytes.fromhex(one.id))
    return image.split if image else None


def _add(changes: Sequence[Relabel], name: str) -> Path:
    """Write the relabelling, named by its number and content, and let DVC track it."""
    before = relabelling_files(RAW / name)
    number = 1 + max((_number(path) for path in before), default=0)
    with staging() as folder:
        built = folder / "relabelling"
        write_relabelling(built, changes)
        target = RAW / name / f"relabel-{number:06}-{digest_file(built)[:8]}{RELABELLING}"
        place(built, target, name)
    return target


def _number(path: Path) -> int:
    """Number by which a relabelling came; 0 where somebody gave it a name of their own."""
    found = path.name.split("-")[1:2]
    return int(found[0]) if found and found[0].isdecimal() else 0


def _result(
    file: Path,
    lines: Sequence[LabelLine],
    present: _Present,
    *,
    changes: Sequence[Relabel],
    is_new: bool,
) -> Relabelled:
    splits = Counter(_split_of(one, present) for one in changes)
    dropped = sum(one.label is None for one in changes)
    return Relabelled(
        file=file.as_posix(),
        is_new=is_new,
        changed=len(changes) - dropped,
        dropped=dropped,
        unchanged=len(lines) - len(changes),
        splits={name: splits[name] for name in SPLITS if splits[name]},
        before=present.manifest.raw_digest,
        dataset=dataset_identity(present.manifest.name),
    )
