"""gc and what was found out about data: label triages, and what more of it would bring."""

import json
import os
import time
from pathlib import Path

import pytest

from flows.datasets.files import TRIAGES
from flows.records.data_value import VALUES
from flows.records.retraining import Request
from flows.upkeep import analyses, gc
from flows.upkeep.retention import remove
from models.config import RetentionParams

pytest_plugins = ["registry_fixtures"]

CURRENT = "c" * 64


class Prepared:
    """Manifest of the prepared arrays, as far as it is asked."""

    digest = CURRENT


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(analyses, "prepared_manifest", lambda: Prepared)


def written(folder: Path, record: str, *, days: float, digest: str, dataset: str = "digits") -> str:
    """Write an analysis of a dataset so many days ago; return its name."""
    folder.mkdir(parents=True)
    about = {"dataset": dataset, "dataset_digest": digest, "more": [1]}
    (folder / record).write_text(json.dumps(about))
    (folder / "page.html").write_text("page")
    then = time.time() - days * 86_400
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))
    return "/".join(folder.parts[-2:])


def triage(name: str, *, days: float, digest: str = "a" * 64, dataset: str = "digits") -> str:
    return written(TRIAGES / dataset / name, "triage.json", days=days, digest=digest)


def test_old_triages_go_and_those_of_the_prepared_data_stay() -> None:
    """However old it is; and the newest of a dataset, and what is young."""
    old = triage("old", days=200)
    current = triage("current", days=400, digest=CURRENT)
    triage("young", days=10)
    others_only = triage("only", days=900, dataset="pets")
    half = TRIAGES / "digits/half"
    half.mkdir()  # killed before it had a record
    os.utime(half, (1, 1))

    cleaning = remove([*analyses.analyses(RetentionParams())], dry_run=False)

    assert sorted(item.name for item in cleaning.removed) == ["digits/half", old]
    assert {item.kind for item in cleaning.removed} == {"label triage"}
    assert cleaning.bytes > 0
    why = {item.name: item.why for item in cleaning.kept}
    assert why[current] == "needed by the prepared data"
    assert why[others_only] == "needed by its dataset, as the newest about it"
    assert sorted(path.name for path in TRIAGES.glob("*/*")) == ["current", "only", "young"]


def test_the_answer_that_new_data_is_weighed_by_stays() -> None:
    """The newest about each dataset of a name; older ones go, and none where days are null."""
    for name, days in (("first", 400), ("last", 300)):
        written(VALUES / "net" / name, "data_value.json", days=days, digest="a" * 64)
    pets = VALUES / "net/pets"
    written(pets, "data_value.json", days=500, digest="b" * 64, dataset="pets")

    forever = remove([*analyses.analyses(RetentionParams(analyses_days=None))], dry_run=False)
    cleaning = remove([*analyses.analyses(RetentionParams())], dry_run=False)

    assert forever.removed == ()
    assert [item.name for item in cleaning.removed] == ["net/first"]


def test_a_listing_starts_no_server(mlflow_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that flow runs are not listed, and lists the rest."""
    (mlflow_project / "params.yaml").write_text("{}\n")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(gc, "prefect_api", lambda: pytest.fail("a server was started"))
    old = triage("old", days=200)
    triage("young", days=1)

    listed = gc.list_removable(Request())

    assert [item.name for item in listed.removed] == [old]
    assert listed.note == gc.NO_SERVER
    assert (TRIAGES / "digits/old").is_dir()
