"""`pitchpipe data triage` and `data relabel`, as a user calls them."""

import csv
import io
import json

import numpy as np
import pytest
from project_folder import ProjectFolder, Ran, overrides
from sklearn.datasets import load_digits

from models.datasets.labelled_images import SPLITS
from models.datasets.pixels import content_ids

QUICK_FOLDS = ("--folds", "2", "--epochs", "1")


def test_likely_faults_are_listed_edited_and_relabelled(
    own_retrained: tuple[ProjectFolder, Ran],
) -> None:
    """What it costs is said first; a second triage trains nothing; a list is fed back."""
    folder, _ = own_retrained
    planned = folder.pitchpipe("data", "triage", *QUICK_FOLDS, "--dry-run", "--json")
    assert planned.document["cached"] is False
    assert "is trained on 2 folds of 1,4" in planned.err
    assert not (folder.root / "mlruns/triage").exists()

    ran = folder.pitchpipe("data", "triage", *QUICK_FOLDS, "--json")
    assert ran.code == 0, ran.err
    found = ran.document
    assert [one["evidence"] for one in found["noise"]] == ["cross-validated", "held-out"]
    assert [one["rank"] for one in found["faults"]] == list(range(1, len(found["faults"]) + 1))
    assert {one["split"] for one in found["faults"]} <= set(SPLITS)
    folds = list((folder.root / found["page"]).parent.glob("fold-*"))
    assert folds == []
    reports = folder.root.glob("mlruns/trials/*/evaluations/*/report.html")
    assert any('href="triage.html"' in page.read_text() for page in reports)
    copies = folder.root.glob("mlruns/artifacts/*/*/artifacts/report/report.html")
    assert ['href="triage.html"' in page.read_text() for page in copies] == [True]

    listed = folder.root / found["list_file"]
    rows = csv.DictReader(io.StringIO(listed.read_text()))
    [first] = [row for row in rows if row["split"] == "train"][:1]
    edited = listed.read_text().replace(f"{first['id']},{first['label']}", f"{first['id']},drop")
    listed.write_text(edited)
    again = folder.pitchpipe("data", "triage", *QUICK_FOLDS, "--json")
    assert "nothing is trained now" in again.err
    assert again.document["faults"] == found["faults"]
    assert again.document["list_file"].endswith("faults-2.csv")
    assert listed.read_text() == edited

    done = folder.pitchpipe("data", "relabel", found["list_file"], "--json")
    assert done.code == 0, done.err
    assert (done.document["changed"], done.document["dropped"]) == (0, 1)
    assert done.document["splits"] == {"train": 1}
    decided = folder.pitchpipe("run", "--dry-run", *overrides("search.epochs=1"))
    assert "1 relabelled" in decided.out + decided.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--folds", "1"), "--folds 1: must be from 2 to 20"),
        (("--epochs", "9"), "--epochs 9: must be from 1 to 2, the budget of version 1"),
        (("--split", "tset"), "--split tset: must be one of train, validation, test"),
        (("--output", "list.txt"), "--output"),
        (("--output", "params.yaml.csv"), "may hold somebody's corrections"),
        (("--of", "9"), "9"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_triage_that_cannot_be_is_refused_before_it_trains(
    own_retrained: tuple[ProjectFolder, Ran],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """With the value and what is allowed; exit code 2."""
    folder, _ = own_retrained
    (folder.root / "params.yaml.csv").touch()
    ran = folder.pitchpipe("data", "triage", *arguments)
    assert ran.code == 2, ran.out + ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_most_flipped_labels_of_digits_are_listed_first(project: ProjectFolder) -> None:
    """5 % flipped: 80 % of them are in the first 8 %; corrected ones are trained on and judged."""
    digits, generator = load_digits(), np.random.default_rng(0)
    images = (digits.images / 16 * 255).astype(np.uint8)
    flipped = generator.choice(len(images), len(images) // 20, replace=False)
    labels = digits.target.copy()
    labels[flipped] = (labels[flipped] + generator.integers(1, 10, len(flipped))) % 10
    np.savez(project.root / "noisy.npz", images=images, labels=labels)
    ids = [one.tobytes().hex() for one in content_ids(images[:, :, :, None])]
    options = overrides("data.name=noisy", "search.epochs=10", "search.axes={minibatch_size: [32]}")

    project.pitchpipe("data", "add", "noisy.npz", "--dataset", "noisy")
    assert project.pitchpipe("run", "--json", *options).code == 0
    listing = ("--output", "faults.jsonl", "--fill", "proposed", "--json")
    triaged = project.pitchpipe("data", "triage", *listing, *options)
    assert triaged.code == 0, triaged.err
    first = [one["id"] for one in triaged.document["faults"]][: round(0.08 * len(images))]
    assert len({ids[row] for row in flipped} & set(first)) >= 0.8 * len(flipped)

    lines = [json.loads(line) for line in (project.root / "faults.jsonl").read_text().splitlines()]
    kept = [one for one in lines if one["likely"] == "yes"]
    (project.root / "kept.jsonl").write_text("\n".join(map(json.dumps, kept)))
    done = project.pitchpipe("data", "relabel", "kept.jsonl", "--test", *options)
    assert done.code == 0, done.err
    assert "test images are the yardstick" in done.out.lower().replace("\n", " ")
    assert project.pitchpipe("run", "--json", *options).code in (0, 3)
