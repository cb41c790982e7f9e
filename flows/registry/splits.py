"""Splits of data/prepared at the image shape that a version takes."""

from flows.datasets.files import PREPARED, RAW
from flows.runtime.scratch import scratch_folder
from models.config import SplitName
from models.datasets.by_id import Shape, open_split_as
from models.datasets.prepared import Split, open_split, read_manifest


def open_split_for(shape: Shape, name: SplitName) -> Split:
    """Open a verified split for a version that takes images (channels, height, width).

    A version made with another data.image_size or data.channels takes the same images, in the same
    order, made from the batches once more; that takes as long as `pitchpipe prepare`.
    Raises as `open_split_as` does; InputError also where nothing is prepared.
    """
    manifest = read_manifest(PREPARED)
    if shape == (manifest.channels, manifest.image_size, manifest.image_size):
        return open_split(PREPARED, name, verify=True)
    raw = RAW / manifest.name
    with scratch_folder(".resizing-") as scratch:
        return open_split_as(PREPARED, name, raw=raw, shape=shape, scratch=scratch)
