"""Pages as people see them, in Debian's Chromium: the report, and the way through MLflow's UI."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from project_folder import ProjectFolder, Ran, read_until, services_of

from flows.runtime.prefect_server import RunningServices
from flows.runtime.servers import free_port
from flows.tracking.experiment import page_of

pytest_plugins = ["browser_fixtures"]

ASSISTANT_CLOSED = "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"


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


@pytest.mark.parametrize("width", [320, 390, 768])
def test_the_report_fits_a_telephone(
    page: Page, retrained: tuple[ProjectFolder, Ran], width: int
) -> None:
    """The page never scrolls sideways; tables too wide for it scroll on their own, to the end."""
    folder, ran = retrained
    page.set_viewport_size({"width": width, "height": 844})
    page.goto((folder.root / ran.document["report"]).as_uri())
    page.locator("summary").click()
    wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    cut = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.wide') &&"
        " one.getBoundingClientRect().right > window.innerWidth + 1).length"
    )
    taller = page.evaluate(
        "[...document.querySelectorAll('tbody th')].filter(one => { const words ="
        " document.createRange(); words.selectNodeContents(one);"
        " return words.getClientRects().length > one.textContent.trim().split(/\\s+/).length;"
        " }).length"
    )
    last = page.get_by_role("columnheader", name="State")
    last.scroll_into_view_if_needed()

    assert (wider, cut, taller) == (0, 0, 0)  # taller: a word of a row's heading is broken
    expect(last).to_be_in_viewport()


@pytest.fixture(scope="module")
def up(retrained: tuple[ProjectFolder, Ran]) -> Iterator[RunningServices]:
    """What `pitchpipe up` serves of the retrained project."""
    folder, _ = retrained
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start("up", *ports)
    read_until(process, "Ctrl-C")
    yield services_of(folder.root)
    process.terminate()
    process.communicate(timeout=60)


def test_a_click_each_leads_from_experiment_to_retraining_report_version_and_dataset(
    page: Page, up: RunningServices, retrained: tuple[ProjectFolder, Ran]
) -> None:
    """The champion, why it won, and its data: as a newcomer finds them from where `up` points."""
    _, ran = retrained
    page.add_init_script(ASSISTANT_CLOSED)
    page.goto(f"{up.mlflow}/?token={up.password}{page_of('1')}")
    expect(page.get_by_text("test/accuracy").first).to_be_visible()

    page.get_by_role("link", name="digits · PROMOTE").first.click()

    expect(page.get_by_role("heading", name="digits · PROMOTE")).to_be_visible()
    expect(page.get_by_text("Datasets", exact=True).first).to_be_visible()
    assert ran.document["mlflow_run"] in page.url

    with page.expect_popup() as opened:
        page.get_by_role("link", name="report", exact=True).click()

    report = opened.value.frame_locator("iframe")
    expect(report.get_by_text("Leaderboard").first).to_be_visible()
    assert report.locator("img").count() >= 4
    expect(opened.value.get_by_text("calibration.png").first).to_be_visible()

    with page.expect_popup() as opened:
        page.get_by_role("link", name="version 1", exact=True).first.click()

    version = opened.value
    expect(version.get_by_text("champion").first).to_be_visible()
    expect(version.get_by_text("Won with").first).to_be_visible()
    expect(version.get_by_role("link", name="report.html").first).to_be_visible()

    with version.expect_popup() as opened:
        version.get_by_role("link", name="samples of the dataset").first.click()

    expect(opened.value.get_by_text("samples.png").first).to_be_visible()
