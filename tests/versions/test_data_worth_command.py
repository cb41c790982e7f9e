"""`data worth` as its users call it: its cost first, its trials kept, its answer shown."""

import os
import signal
import time
from pathlib import Path

import pytest
from project_folder import QUICK, ProjectFolder, Ran, overrides
from training_fixtures import ignore, write_prepared

from flows.datasets.files import PREPARED
from flows.records.retraining import Request
from flows.records.trial_store import directory_of
from flows.versions.data_value import answering
from flows.versions.data_value.planning import Plan, Question, cost_of, make_plan
from flows.versions.data_value.subject import Subject
from models.config import MlpConfig, TrialConfig
from models.datasets.prepared import open_split
from models.training.fit import train_trial
from models.trials import Outcome

ASKED = ("data", "worth", "--fractions", "0.25,0.5", "--seeds", "2", *overrides(*QUICK))


def stored(project: ProjectFolder) -> set[str]:
    return {path.parent.name for path in (project.root / "mlruns/trials").glob("*/trial.json")}


@pytest.mark.slow
def test_worth_says_its_cost_trains_once_and_is_shown_where_reports_are(
    own_retrained: tuple[ProjectFolder, Ran],
) -> None:
    """Of the champion; the same again trains nothing and says the same."""
    project, retraining = own_retrained
    before = stored(project)

    cost = project.pitchpipe(*ASKED, "--dry-run", "--json")
    untouched = stored(project) == before
    first = project.pitchpipe(*ASKED, "--json")
    again = project.pitchpipe(*ASKED, "--json")
    forecast = project.pitchpipe(*ASKED, "--dry-run", "--json")

    assert cost.code == first.code == again.code == 0, cost.err + first.err + again.err
    assert untouched
    assert (cost.document["total"], cost.document["cached"]) == (6, 0)
    assert (forecast.document["cached"], forecast.document["minutes"]) == (6, 0)
    assert again.document == first.document
    assert len(stored(project) - before) == 6
    assert [len(one["errors"]) for one in first.document["points"]] == [2, 2, 2]
    assert len(first.document["classes"]) == 10
    report = project.root / retraining.document["report"]
    assert "Value of data</h2>" in report.read_text()
    shown = "mlruns/artifacts/digits-classifier/*/artifacts/report/report.html"
    assert [page.read_text() for page in project.root.glob(shown)] == [report.read_text()]
    folder = project.root / "mlruns/artifacts/digits-classifier" / first.document["run_id"]
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"data_value.html", "data_value.json", "data_curve.svg"} <= kept
    listed = project.pitchpipe("trials", "--json", *overrides(*QUICK)).document
    whole = {key for one in first.document["points"][-1:] for key in one["keys"]}
    assert {one["key"] for one in listed} & (stored(project) - before) == whole


def test_an_answer_is_made_of_trials_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sizes, a class alone and the widths share what is the same; none is trained twice."""
    monkeypatch.chdir(tmp_path)
    manifest = write_prepared(PREPARED)
    (tmp_path / "params.yaml").write_text(
        "data: {name: bars, image_size: 8}\ntrial: {network: {name: mlp}}\n"
    )
    config = TrialConfig(network=MlpConfig(hidden_units=8))
    question = Question((0.3, 0.6), 2, ("middle",), capacity=True)
    subject, request = Subject("version 3", config, 1), Request()
    train = open_split(PREPARED, "train", verify=False)

    def here(plan: Plan, request: Request) -> dict[str, Outcome]:
        del request
        return {
            key: known
            or train_trial(
                plan.specs[key], directory_of(key), prepared=PREPARED, budget=1, on_epoch=ignore
            )
            for key, known in plan.outcomes.items()
        }

    monkeypatch.setattr(answering, "train_missing", here)
    plan = make_plan(question, subject, manifest, train, request)
    found = answering.answer_value(plan, request)
    again = make_plan(question, subject, manifest, train, request)

    # Three sizes, two of the class alone, three other widths; the whole is in common.
    assert len(plan.specs) == 2 * (3 + 2 + 3)
    assert cost_of(plan, request).cached == 0
    assert cost_of(again, request).minutes == 0
    assert answering.answer_value(again, request).points == found.points
    assert [point.images for point in found.points] == sorted({p.images for p in found.points})
    assert found.points[-1].images == len(train.labels)
    assert [one.alone for one in found.classes] == [True, False, False, False]
    assert found.check is None
    assert found.capacity is not None
    assert [one.factor for one in found.capacity.networks] == [0.25, 0.5, 1, 2]
    seeds = {plan.specs[key].config.seed for point in found.points for key in point.keys}
    assert seeds == {1, 2}  # not its own, which selected it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fractions", "0.5"], "--fractions 0.5"),
        (["--class", "cat"], "--class cat: no class of digits; there are 0, 1"),
        (["--fractions", "0.0001,0.5"], "choose larger --fractions"),
        (["--class", "8", "--more", "5000"], "--more 5000: at most"),
        (["nothing"], "no version 'nothing'"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    own_retrained: tuple[ProjectFolder, Ran], options: list[str], words: str
) -> None:
    """With the value, before anything is trained."""
    project, _ = own_retrained

    ran = project.pitchpipe("data", "worth", *options, *overrides(*QUICK))

    assert ran.code == 2
    assert words in ran.err


@pytest.mark.slow
def test_worth_that_was_killed_goes_on_to_the_same_answer(
    own_retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """What was trained by then is cached."""
    project, _ = own_retrained
    asked = ("data", "worth", "params", "--seeds", "2", "--fractions", "0.3,0.6", "--json")
    longer = overrides(*QUICK, "search.epochs=6")
    with project.start_into(tmp_path / "said", *asked, *longer) as command:
        before = stored(project)
        while len(stored(project) - before) < 3:
            assert command.poll() is None
            time.sleep(0.05)  # the file system tells nobody
        os.kill(command.pid, signal.SIGKILL)

    cost = project.pitchpipe(*asked, "--dry-run", *longer).document
    found = project.pitchpipe(*asked, *longer)

    assert found.code == 0, found.err
    assert cost["total"] == 6
    assert cost["minutes"] < cost["total"]
    assert [len(one["errors"]) for one in found.document["points"]] == [2, 2, 2]
