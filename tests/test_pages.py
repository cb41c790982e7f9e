"""Pages as people see them, in Debian's Chromium: the report, and the way through MLflow's UI."""

import os
import shutil
from collections.abc import Iterator

import pytest
from conftest import ProjectFolder, Ran, read_until
from playwright.sync_api import Browser, Page, expect, sync_playwright

from flows.services import free_port

CHROMIUM = shutil.which("chromium")
WHY = "Chromium is not installed (Debian: apt-get install chromium): pages are not looked at"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]

if CHROMIUM is None and "PITCHPIPE_REQUIRE_ALL" not in os.environ:
    pytest.skip(WHY, allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    assert CHROMIUM, WHY
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that remembers what went wrong in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def test_the_report_shows_scores_and_figures_and_asks_the_network_for_nothing(
    page: Page, retrained: tuple[ProjectFolder, Ran]
) -> None:
    """One file: every picture is inside, nothing scrolls sideways, no script fails."""
    folder, ran = retrained
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto((folder.root / ran.document["report"]).as_uri())
    broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")

    accuracy = f"{ran.document['test']['accuracy'] * 100:.2f} %"
    expect(page.get_by_text(accuracy).first).to_be_visible()
    assert page.locator("img").count() >= 4
    assert (broken, faults) == (0, [])
    assert overflow <= 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def mlflow_ui(retrained: tuple[ProjectFolder, Ran]) -> Iterator[str]:
    """Address of the MLflow UI of the retrained project, served by `pitchpipe up`."""
    folder, _ = retrained
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start("up", *ports)
    printed = read_until(process, "Ctrl-C")
    yield next(word for word in printed.split() if word.startswith("http://"))
    process.terminate()
    process.communicate(timeout=60)


def test_mlflow_leads_from_the_experiment_to_the_run_its_scores_and_its_report(
    page: Page, mlflow_ui: str, retrained: tuple[ProjectFolder, Ran]
) -> None:
    """The experiment lists the parent run by date, dataset and verdict; it holds the report."""
    _, ran = retrained
    page.goto(f"{mlflow_ui}/#/experiments/1/runs")
    parent = page.get_by_role("link", name="digits · PROMOTE").first

    parent.click()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("report", exact=True).click()
    page.get_by_text("report.html").click()

    assert ran.document["mlflow_run"] in page.url
    report = page.frame_locator("iframe")
    expect(report.get_by_text("What was selected").first).to_be_visible()


def test_mlflow_shows_the_champion_with_its_alias_and_description(
    page: Page, mlflow_ui: str
) -> None:
    """The version page tells what won and why, on which data, and leads to the report."""
    page.goto(f"{mlflow_ui}/#/models/digits-classifier/versions/1")

    expect(page.get_by_text("champion").first).to_be_visible()
    expect(page.get_by_text("Won with").first).to_be_visible()
    expect(page.get_by_role("link", name="report.html").first).to_be_visible()
