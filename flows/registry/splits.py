"""Splits of data/prepared in the image form that a version takes."""

from flows.datasets.files import PREPARED, RAW
from flows.runtime.scratch import scratch_folder
from models.config import SplitName
from models.config.data import ImageForm
from models.datasets.by_id import open_split_as
from models.datasets.prepared import Split, open_split, read_manifest


def open_split_for(form: ImageForm, name: SplitName) -> Split:
    """Open a verified split for a version that takes images of this form.

    A version made with another data.image_size, channels, resize or interpolation takes the same
    images, in the same order, made from the batches once more; that takes as long as `pitchpipe
    prepare`.
    Raises as `open_split_as` does; InputError also where nothing is prepared.
    """
    manifest = read_manifest(PREPARED)
    if form == manifest.form:
        return open_split(PREPARED, name, verify=True)
    raw = RAW / manifest.name
    with scratch_folder(".resizing-") as scratch:
        return open_split_as(PREPARED, name, raw=raw, form=form, scratch=scratch)
