"""What MLflow shows of a dataset: images of each class on a sheet, and the manifest."""

from pathlib import Path

from models.datasets.prepared import MANIFEST, read_manifest
from models.datasets.samples import write_samples
from models.files import write_text

PORTRAITS = Path("mlruns/datasets")


def portrait(prepared: Path) -> Path:
    """Return the folder of samples.png and manifest.json, named after the arrays' digest.

    It stays: MLflow may be told of a retraining long after prepared/ holds something else.
    """
    folder = PORTRAITS / read_manifest(prepared).digest
    # The manifest is written last: where it is, the sheet is.
    if not (folder / MANIFEST).exists():
        write_samples(prepared, folder / "samples.png")
        write_text(folder / MANIFEST, (prepared / MANIFEST).read_text(encoding="utf-8"))
    return folder
