"""Versions made again: bit-equal, or with what differs named; what is live stays as it is."""

import shutil
import signal
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
from project_folder import ProjectFolder, Ran, make_project, overrides
from registry_records import epoch_record, evaluation, registration

from flows.records.lineage import Lineage
from flows.versions.differences import (
    ASYNCHRONOUS,
    Environment,
    Results,
    compare_asynchronous,
    compare_results,
    find_causes,
)
from models.digests import digest_file
from models.evaluation.records import Evaluation

FASHION = (
    "data.name=fashion-mnist",
    "data.limit=1500",
    "search.epochs=2",
    "search.axes={minibatch_size: [32, 64]}",
    "trial.augmentation={name: shift, pixels: 2}",
)


def bits(folder: Path) -> dict[str, str]:
    """Every file that is not a lock or a note of digests known."""
    return {
        str(path.relative_to(folder)): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != ".digests.json"
    }


def copied(folder: ProjectFolder, target: Path) -> ProjectFolder:
    shutil.copytree(folder.root, target)
    return ProjectFolder(target)


def test_a_champion_is_made_again_to_the_bit(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """Exit 0, no difference; progress on standard error; nothing live changes, nothing is left."""
    folder, _ = retrained
    project = copied(folder, tmp_path / "project")
    live, trials = bits(project.root / "data"), bits(project.root / "mlruns/trials")

    ran = project.pitchpipe("reproduce", "champion", "--json")

    assert ran.code == 0, ran.err
    assert ran.document == {"version": 1, "bit_equal": True, "as_promised": True, "differences": []}
    assert "epoch 2 of 2: validation accuracy" in ran.err
    assert bits(project.root / "data") == live
    assert bits(project.root / "mlruns/trials") == trials
    assert list((project.root / "mlruns").glob(".reproducing-*")) == []


def test_data_that_is_live_no_more_comes_from_the_cache(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """Batches and arrays gone, even the trial: made again all the same, and not put back."""
    folder, _ = retrained
    project = copied(folder, tmp_path / "project")
    for gone in ("data/raw/digits", "data/prepared", "mlruns/trials"):
        shutil.rmtree(project.root / gone)

    ran = project.pitchpipe("reproduce", "1")

    assert ran.code == 0, ran.err
    assert "bit-equal" in ran.out
    assert "its history is not compared" in ran.err
    assert not (project.root / "data/raw/digits").exists()


def test_interrupted_it_leaves_nothing(
    retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """Ctrl-C while it trains: exit 130, no traceback, no scratch folder."""
    folder, _ = retrained
    project = copied(folder, tmp_path / "project")
    with project.start("reproduce", "1") as process:
        assert process.stderr is not None
        said = list(takewhile(lambda line: "epoch 1 of 2" not in line, process.stderr))
        assert process.poll() is None, said
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (said, err)
    assert "bit-equal" not in out
    assert "Traceback" not in err
    assert list((project.root / "mlruns").glob(".reproducing-*")) == []


def test_data_that_is_lost_is_named(retrained: tuple[ProjectFolder, Ran], tmp_path: Path) -> None:
    """Neither here nor in a cache: exit 1, and the difference is the data."""
    folder, _ = retrained
    project = copied(folder, tmp_path / "project")
    shutil.rmtree(project.root / "data/raw/digits")
    shutil.rmtree(project.root / ".dvc/cache")

    ran = project.pitchpipe("reproduce", "1", "--json")

    assert ran.code == 1
    assert ran.document["bit_equal"] is False
    [difference] = ran.document["differences"]
    assert difference.startswith("data: ")
    assert "missing from DVC's cache" in difference


@pytest.mark.slow
def test_a_fashion_mnist_champion_is_made_again_to_the_bit(tmp_path: Path) -> None:
    """Real photographs, augmented: random shifts are made again too."""
    project = make_project(tmp_path / "project")
    ran = project.pitchpipe("run", "--json", *overrides(*FASHION))
    assert ran.code == 0, ran.err

    again = project.pitchpipe(
        "reproduce", "champion", "--json", "--model", "fashion-mnist-classifier"
    )

    assert again.document == {"bit_equal": True, "as_promised": True, "differences": []}, again.err
    assert again.code == 0


@pytest.fixture
def lineage() -> Lineage:
    """What a version knows of where it comes from."""
    made = registration("run")
    return Lineage(
        spec=made.spec,
        result=made.result,
        dataset=made.dataset,
        code=made.code,
        params={},
        classes=made.classes,
        image_shape=made.image_shape,
        environment={"python": "3.11.9", "torch": "2.13.0"},
        trained_images=10,
        created="2026-11-23T06:40:00+00:00",
    )


def test_another_instruction_set_is_a_cause_where_it_is_known(lineage: Lineage) -> None:
    """A version of an earlier release does not say; one of this release names both."""
    assert find_causes(lineage, environment(lineage, instructions="AVX2")) == []
    spec = lineage.spec.model_copy(update={"instructions": "AVX512"})
    known = lineage.model_copy(update={"spec": spec})
    assert find_causes(known, environment(known, instructions="AVX2")) == [
        "environment: the CPU computes with AVX2 now, AVX512 then"
    ]


def environment(lineage: Lineage, **changed: object) -> Environment:
    """Where the version was made, but for what has changed."""
    facts: dict[str, object] = {
        "source": lineage.spec.source,
        "environment": lineage.environment,
        "instructions": "AVX512",
        "raw_digest": lineage.dataset.digest,
        "prepared_digest": lineage.dataset.prepared_digest,
    }
    return Environment(**(facts | changed))  # type: ignore[arg-type]


def test_where_nothing_changed_no_cause_is_named(lineage: Lineage) -> None:
    assert find_causes(lineage, environment(lineage)) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"source": "d" * 64},
            (
                "code: the training source has digest dddddddddddd now, cccccccccccc then, "
                "at commit ffffffffffff"
            ),
        ),
        (
            {"environment": {"python": "3.11.9", "torch": "2.14.0"}},
            "environment: torch 2.14.0 now, 2.13.0 then",
        ),
        ({"environment": {"torch": "2.13.0"}}, "environment: python absent now, 3.11.9 then"),
        (
            {"raw_digest": "e" * 64},
            "data: batches eeeeeeeeeeee now, aaaaaaaaaaaa then",
        ),
        (
            {"prepared_digest": "e" * 64},
            "data: prepared arrays eeeeeeeeeeee now, bbbbbbbbbbbb then",
        ),
    ],
)
def test_each_cause_is_named_with_both_sides(
    lineage: Lineage, changed: dict[str, object], named: str
) -> None:
    """What it is, as it is now, as it was then; and nothing else."""
    assert find_causes(lineage, environment(lineage, **changed)) == [named]


@pytest.fixture
def made() -> Results:
    return Results(
        trained=registration("run").result,
        history=(epoch_record(1), epoch_record(2)),
        test=evaluation(),
    )


def altered(made: Results) -> Iterator[tuple[str, Results]]:
    """Each result changed in its last bits, and how that difference begins."""
    trained, (first, second) = made.trained, made.history
    scores = trained.scores.model_copy(update={"accuracy": trained.scores.accuracy + 1e-12})
    later = second.model_copy(update={"train_loss": second.train_loss + 1e-12})
    test = made.test.model_copy(update={"cross_entropy": made.test.cross_entropy + 1e-12})
    weights = trained.model_copy(update={"weights_digest": "9" * 64})
    yield "weights: digest 999999", Results(weights, made.history, made.test)
    yield "history: 1 epochs now, 2 then", Results(trained, (first,), made.test)
    yield "history, epoch 2: train_loss", Results(trained, (first, later), made.test)
    yield (
        "validation scores: accuracy",
        Results(trained.model_copy(update={"scores": scores}), made.history, made.test),
    )
    yield "test scores: cross_entropy", Results(trained, made.history, test)


def test_each_result_that_differs_is_named(made: Results) -> None:
    """By its last bit, each alone."""
    for named, now in altered(made):
        [found] = compare_results(made, now)
        assert found.startswith(named)


def test_equal_results_differ_in_nothing(made: Results) -> None:
    """Wall time is no result; a history that was not kept is not compared."""
    slower = tuple(record.model_copy(update={"seconds": 9.0}) for record in made.history)
    assert compare_results(made, Results(made.trained, slower, made.test)) == []
    assert compare_results(Results(made.trained, (), made.test), made) == []


def test_what_was_trained_asynchronously_is_compared_by_its_accuracy(made: Results) -> None:
    """p = 80/100 + 1 success, + 1 failure: 1.96 sqrt(2 x 0.7941 x 0.2059 / 102) = 0.1110."""
    then = Results(made.trained, made.history, scored(made, 80))
    [same] = compare_asynchronous(then, then, processes=2)
    assert same == (
        f"{ASYNCHRONOUS}trained by 2 processes that wait for none: scores are expected within "
        "0.1110 of accuracy, not bits; test accuracy 0.8000 now, 0.8000 then"
    )
    for right, kind in ((88, ASYNCHRONOUS), (60, "scores: ")):
        now = Results(made.trained, made.history, scored(made, right))
        [found] = compare_asynchronous(then, now, processes=2)
        assert found.startswith(kind)


def scored(made: Results, right: int) -> Evaluation:
    """An evaluation on 100 images."""
    return made.test.model_copy(update={"accuracy": right / 100, "n": 100})
