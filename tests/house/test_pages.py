"""Pages as people see them, in Debian's Chromium: the report, and the way through MLflow's UI."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_samples import PAGES, write_pages
from playwright.sync_api import Page, expect
from project_folder import ProjectFolder, Ran, read_until, services_of

from flows.runtime.prefect_server import RunningServices
from flows.runtime.servers import free_port
from flows.tracking.experiment import page_of

pytest_plugins = ["browser_fixtures"]

ASSISTANT_CLOSED = "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"

_CONTENTS = """() => {
    const shown = [...document.querySelectorAll('nav a')].filter(one => one.offsetParent);
    return [shown.map(one => one.hash.slice(1)),
            [...document.querySelectorAll('section')].map(one => one.id)];
}"""

_EMPTY = """[...document.querySelectorAll('.tiles')].map(row => [row, row.lastElementChild].map(
    one => Math.round(one.getBoundingClientRect().right))).filter(([row, tile]) => row !== tile)"""
"""Rows of tiles whose last tile ends before them."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every page that there is, each with all its sections."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        write_pages(folder)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_in_any_page(page: Page, pages: Path, name: str) -> None:
    """Labels, headings, keyboard, on a telephone, where tables scroll; contrast in both colours."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto((pages / name).as_uri())
    found = _serious(page, {"resultTypes": ["violations"]})
    page.emulate_media(color_scheme="light")
    found += _serious(page, {"resultTypes": ["violations"], "runOnly": ["color-contrast"]})

    assert found == []


def _serious(page: Page, options: dict[str, list[str]]) -> list[str]:
    """Serious and critical findings of axe-core, each with the elements that it is about."""
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {[node['html'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_keeps_to_its_width_and_lists_its_sections(
    page: Page, pages: Path, name: str
) -> None:
    """From a telephone to a wide screen: no sideways scrolling, no empty place in a row of tiles.

    The contents name all sections, those that were put in later too, in their order.
    """
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((pages / name).as_uri())
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 844})
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, width
        assert page.evaluate(_EMPTY) == [], width
    listed, sections = page.evaluate(_CONTENTS)

    assert listed == (sections if len(sections) > 1 else [])  # one section needs no contents
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_report_lists_no_section_that_is_not_there(page: Page, pages: Path) -> None:
    """As long as nothing was compared, weighed or triaged."""
    text = (pages / "report.html").read_text()
    for section in ("champion", "data-value", "triage"):
        text = text.replace(f'<section id="{section}">', "<section>")
    page.set_content(text)

    listed, sections = page.evaluate(_CONTENTS)

    assert listed == [one for one in sections if one]


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
