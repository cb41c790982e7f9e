"""`pitchpipe trials curves`: every epoch of the trials, for other programs."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_folder import ProjectFolder
from registry_records import epoch_record, trial_result, trial_spec
from stored_project import copied

from flows.records.curves import write_curves
from flows.records.spreadsheets import as_text
from flows.records.trial_store import STORE, StoredTrial
from models.config import CnnConfig, MlpConfig, TrialConfig
from models.trials import TrialSpec, read_history

pytest_plugins = ["stored_project"]


def stored_trial(config: TrialConfig, epochs: int, dataset: str = "d" * 64) -> StoredTrial:
    """A trial of the store."""
    spec = TrialSpec(config=config, dataset=dataset, source="c" * 64, versions={})
    history = tuple(epoch_record(epoch) for epoch in range(1, epochs + 1))
    return StoredTrial(spec, spec.key, trial_result(spec, epochs), history)


def rows_of(*trials: StoredTrial) -> list[dict[str, str]]:
    file = io.StringIO()
    assert write_curves(file, trials) == sum(len(trial.history) for trial in trials)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def test_a_row_is_an_epoch_with_its_trial_beside_it() -> None:
    """Numbers as they are recorded: at epoch 2, 1 - 0.6 / 2 is the accuracy."""
    trial = StoredTrial(trial_spec(), trial_spec().key, None, (epoch_record(1), epoch_record(2)))

    first, second = rows_of(trial)

    assert (first["key"], first["state"], first["epoch"]) == (trial.key, "unfinished", "1")
    wanted = {"epoch": 2, "train_loss": 0.5, "validation_accuracy": 0.7, "validation_loss": 0.55}
    assert {name: float(second[name]) for name in wanted} == wanted
    assert second["config.optimizer.learning_rate"] == "0.001"


def test_networks_of_several_kinds_share_a_table() -> None:
    """What one kind does not have is empty."""
    cnn, mlp = (TrialConfig(network=network) for network in (CnnConfig(), MlpConfig()))

    found = rows_of(stored_trial(cnn, 2), stored_trial(mlp, 1))

    assert [row["config.network.name"] for row in found] == ["cnn", "cnn", "mlp"]
    assert [bool(row["config.network.channels"]) for row in found] == [True, True, False]
    assert [row["state"] for row in found] == ["finished"] * 3


def test_without_an_epoch_there_are_headings_alone() -> None:
    """A program that reads them finds its columns all the same."""
    file = io.StringIO()

    assert write_curves(file, []) == 0

    assert file.getvalue().startswith("key,state,dataset,epoch,train_loss,")
    assert file.getvalue().count("\n") == 1


@given(st.text(max_size=20))
def test_no_text_of_a_table_is_a_formula(text: str) -> None:
    """And what is none stays as it is."""
    cell = as_text(text)

    assert cell.lstrip("'") == text.lstrip("'")
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_what_is_written_is_kept_from_being_a_formula() -> None:
    """A trial's file may come from anybody."""
    (row,) = rows_of(stored_trial(TrialConfig(), 1, dataset="=cmd|' /C calc'!A0"))
    assert row["dataset"].startswith("'=")


def test_the_command_writes_what_the_store_holds(stored: Path, tmp_path: Path) -> None:
    """On standard output and in a file alike; another format is refused, and nothing is written."""
    root = copied(stored, tmp_path / "project")
    folder = ProjectFolder(root)

    printed = folder.pitchpipe("trials", "curves", "--all")
    written = folder.pitchpipe("trials", "curves", "--all", "--output", "curves.csv")
    refused = folder.pitchpipe("trials", "curves", "--output", "curves.xlsx")

    epochs = {path.name: len(read_history(path)) for path in (root / STORE).iterdir()}
    found = list(csv.DictReader(io.StringIO(printed.out)))
    assert printed.code == written.code == 0, printed.err + written.err
    assert {row["key"] for row in found} <= epochs.keys()
    assert len(found) == sum(epochs[key] for key in {row["key"] for row in found}) > 0
    assert (root / "curves.csv").read_text() == printed.out
    assert (refused.code, (root / "curves.xlsx").exists()) == (2, False)
    assert ".csv" in refused.err


@pytest.mark.parametrize("number", [-0.5, float("nan"), float("inf")])
def test_numbers_stay_numbers(number: float) -> None:
    """A loss below nought is no formula; one that is not finite reads as such."""
    record = epoch_record(1).model_copy(update={"train_loss": number})
    trial = StoredTrial(trial_spec(), "k", None, (record,))

    assert str(float(rows_of(trial)[0]["train_loss"])) == str(number)
