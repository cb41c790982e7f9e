"""The month behind the tour's pictures: its deliveries, its params, its first days."""

from itertools import islice
from pathlib import Path

import month
import numpy as np
import pytest
from numpy.typing import NDArray
from project_folder import ProjectFolder

from models.config import load_params


def arrays(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(path) as file:
        return file["images"], file["labels"]


def test_each_day_has_images_of_its_own(tmp_path: Path) -> None:
    """Negatives from the scanner's day on, and wrong labels on one day alone."""
    days = [arrays(path) for path in month.deliveries(tmp_path)]
    images = np.concatenate([seen for seen, _ in days])

    assert [len(labels) for _, labels in days] == [month.FIRST, *[month.DAILY] * 30]
    assert len(np.unique(images, axis=0)) == len(images) == 1680
    corners = [seen[:, 0, 0].mean() for seen, _ in days]  # paper in every digit
    assert max(corners[: month.SCANNER_DAY - 1]) < 10
    assert min(corners[month.SCANNER_DAY - 1 :]) > 240


@pytest.mark.parametrize("day", month.SETTINGS)
def test_params_of_each_day_are_valid(day: int, tmp_path: Path) -> None:
    """As a retraining reads them."""
    file = tmp_path / "params.yaml"
    file.write_text(month.SETTINGS[day].text)

    params = load_params(file)

    assert params.data.name == "digits"
    assert params.search.epochs == month.SETTINGS[day].epochs


@pytest.mark.slow
def test_days_are_lived_once(project: ProjectFolder) -> None:
    """The first promotes a champion; whoever begins again goes on where it was left."""
    first = list(islice(month.live_month(project), 2))
    verdicts = project.pitchpipe("versions", "--json").document
    again = list(islice(month.live_month(project), 2))

    assert first[0].startswith("day  1: PROMOTE, test accuracy")
    assert again == first
    assert [one["version"] for one in verdicts] == [2, 1]
    assert project.pitchpipe("versions", "--json").document == verdicts
