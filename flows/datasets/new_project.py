"""New projects: the files that a folder needs, with params for one's own images."""

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from flows.datasets.ingest import Added, add_source
from models.config import load_params
from models.datasets.sources.detect import find_source
from models.datasets.sources.paths import slug
from models.datasets.sources.recommendation import Overview, Recommendation, recommend, survey
from models.errors import InputError, PitchpipeError
from models.files import PARAMS, write_text

UNKNOWN = Recommendation(
    image_size=64,
    channels=3,
    epochs=60,
    warmup=2,
    minibatch_size=32,
    class_weights="none",
)
"""Where no images are given: small colour photographs, about 4,000 of them."""
TEMPLATES: Mapping[str, str] = {
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
    ".dvc/config": "dvc_config",
    ".dvc/.gitignore": "dvc_gitignore",
    ".github/workflows/pitchpipe.yml": "workflow.yaml",
    "data/.gitignore": "data_gitignore",
    "dvc.yaml": "dvc_stages.yaml",  # under its own name DVC would take it for the repository's
    "schedules.yaml": "schedules.yaml",
}
"""File of a project -> template. params.yaml, which makes a folder a project, is written last."""
_REQUIREMENTS = """\
# Where your package index has no pitchpipe, the path or address of a wheel or of its repository.
pitchpipe=={}
"""
OWN = (PARAMS.name, "dvc.yaml", "schedules.yaml")
"""Files that must not be there before: they would be somebody's."""


@dataclass(frozen=True, slots=True)
class NewProject:
    """What was written."""

    folder: Path
    dataset: str
    written: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that were there already, and stay as they are."""
    seen: Overview | None
    """What the images are like; None: none were given."""
    values: Recommendation


def create_project(folder: Path, images: Path | None) -> NewProject:
    """Write the files of a new project; its dataset is called as the folder is.

    images: any source of `data add`, looked at for size, colour, number and balance of classes.
    Raises InputError, before anything is written, where the folder is a project already or is no
    folder, or where the images cannot be read.
    """
    _refuse_unusable(folder, images)
    seen = survey(find_source(images)) if images else None
    values = recommend(seen) if seen else UNKNOWN
    dataset = _dataset_name(folder)
    written, kept = list[str](), list[str]()
    for name, text in _contents(dataset, seen, values):
        path = folder / name
        (kept if path.exists() else written).append(name)
        if not path.exists():
            write_text(path, text)
    return NewProject(folder.resolve(), dataset, tuple(written), tuple(kept), seen, values)


def add_first_batch(project: NewProject, images: Path, *, skip_bad: bool) -> Added:
    """Add the images to the project's dataset; its root is the working directory.

    Raises InputError where a check fails, PitchpipeError where the disk or DVC does: the project is
    there, without images.
    """
    try:
        return add_source(images, load_params(PARAMS).data, skip_bad=skip_bad)
    except PitchpipeError as error:
        kind = InputError if isinstance(error, InputError) else PitchpipeError
        command = f"pitchpipe data add {images} --dataset {project.dataset}"
        raise kind(
            f"{error}\n{project.folder}: the project is made, without images; once that is mended, "
            f"there: {command}"
        ) from error


def _refuse_unusable(folder: Path, images: Path | None) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder, which may be new")
    for name in OWN:
        if (folder / name).exists():
            raise InputError(
                f"{folder}: holds {name} already; it is a project, or somebody else's: "
                "name another folder"
            )
    if images and images.resolve() == folder.resolve():
        raise InputError(
            f"{folder}: holds the images, whose folders are classes; name another folder for the "
            "project, which may lie above or below it"
        )


def _dataset_name(folder: Path) -> str:
    """Derive it from the folder's name."""
    name = slug(folder.resolve().name)
    return name if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name) else "images"


def _contents(
    dataset: str, seen: Overview | None, values: Recommendation
) -> Iterator[tuple[str, str]]:
    templates = files("flows.datasets") / "templates"
    for name, template in TEMPLATES.items():
        yield name, (templates / template).read_text(encoding="utf-8")
    yield "mlruns/.gitkeep", ""
    yield "requirements.txt", _REQUIREMENTS.format(importlib.metadata.version("pitchpipe"))
    text = (templates / PARAMS.name).read_text(encoding="utf-8")
    yield PARAMS.name, text.format(name=dataset, seen=_describe(seen), **asdict(values))


def _describe(seen: Overview | None) -> str:
    if seen is None:
        return "No images\n# were looked at: size, colour and epochs are guesses."
    colour = "colour" if seen.channels == 3 else "grey"
    return (
        f"Made for {seen.images:,}\n# images of {len(seen.class_counts)} classes, {colour}, "
        f"usually {seen.side} pixels on their longer side."
    )
