"""`make screenshots [FOLDER=...]`: a month of retrainings, and its pages into docs/screenshots/."""

import io
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from month import live_month, served
from playwright.sync_api import Page, sync_playwright
from project_folder import REPOSITORY, ProjectFolder, make_project, services_of
from rich.console import Console
from rich.text import Text

FOLDER = REPOSITORY / "docs/screenshots"
CHROMIUM = "/usr/bin/chromium"
CLOSED = (
    '[data-component-id="mlflow.assistant.chat_panel.close"]',
    '[data-component-id*="shared_view"][data-component-id*="dismiss"]',
)
"""Buttons that close what MLflow opens by itself: its assistant, and a notice about saved views."""
CHAMPION = (
    "SELECT v.{column} FROM model_versions v JOIN registered_model_aliases a "
    "ON a.name = v.name AND a.version = v.version WHERE a.alias = 'champion'"
)
LAST_FLOW_RUN = (
    "SELECT r.id FROM flow_run r JOIN flow f ON f.id = r.flow_id "
    "WHERE f.name = 'retrain' AND r.run_count > 0 ORDER BY r.created DESC"
)
PATIENCE = 300_000
"""Milliseconds that a page has."""
WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
TERMINAL = (("status",), ("trials",))
"""Commands of the terminal's picture."""


def pages(folder: ProjectFolder, runs: str, prefect: str) -> Iterator[tuple[str, str, str]]:
    """Name, address, and a text that shows that the page is there."""
    mlflow, _, _ = runs.partition("/#")
    run, version = (
        one(folder, "mlruns/mlflow.db", CHAMPION.format(column=column))
        for column in ("run_id", "version")
    )
    flow_run = one(folder, ".prefect/prefect.db", LAST_FLOW_RUN)
    training = "workflowType=machine_learning"
    yield "retrainings", runs, "test/accuracy"
    yield "trials", runs.replace("=retrainings", "=trials"), "best/accuracy"
    yield "drift", runs.replace("=retrainings", "=drift"), "drift.answer"
    yield "retraining", f"{mlflow}/#/experiments/1/runs/{run}?{training}", "Look at"
    report = f"{mlflow}/#/experiments/1/runs/{run}/artifacts/report/report.html?{training}"
    yield "report", report, "report.html"
    won = f"{mlflow}/#/models/digits-classifier/versions/{version}?{training}"
    yield "version", won, "Won with"
    yield "flow_run", f"{prefect}/runs/flow-run/{flow_run}", "evaluate on test"


def one(folder: ProjectFolder, database: str, query: str) -> str:
    with closing(sqlite3.connect(folder.root / database)) as connection:
        return str(connection.execute(query).fetchone()[0])


def take(page: Page, name: str, url: str, text: str) -> None:
    page.goto("about:blank")
    page.goto(url)
    page.get_by_text(text).first.wait_for(state="attached")
    for button in CLOSED:
        if page.locator(button).count():
            page.locator(button).first.click()
    page.wait_for_timeout(4000)  # charts and frames are drawn when they like
    page.screenshot(path=FOLDER / f"{name}.png")


def terminal_svg(folder: ProjectFolder, *, width: int) -> str:
    """What the commands print on a terminal of colours, as an SVG picture that loads nothing."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    for command in TERMINAL:
        ran = folder.pitchpipe(*command, FORCE_COLOR="1", TERM="xterm-256color", COLUMNS=str(width))
        assert ran.code == 0, ran.err
        console.print(
            f"$ pitchpipe {' '.join(command)}", style="bold bright_white", highlight=False
        )
        console.print(Text.from_ansi(ran.out))
    return WEB_FONTS.sub("", console.export_svg(title="pitchpipe"))


def take_terminal(page: Page, svg: str) -> None:
    page.set_content(f"<body style='margin:0'>{svg}</body>")
    page.locator("svg").first.screenshot(path=FOLDER / "terminal.png")


def main(root: Path) -> None:
    """Live the month, serve, look."""
    folder = ProjectFolder(root) if root.exists() else make_project(root)
    FOLDER.mkdir(exist_ok=True)
    with served(folder) as (runs, prefect), sync_playwright() as playwright:
        for line in live_month(folder):
            sys.stdout.write(line)
            sys.stdout.flush()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        take_terminal(page, terminal_svg(folder, width=100))
        page.goto(f"{prefect}/?token={services_of(folder.root).password}")
        for name, url, text in pages(folder, runs, prefect):
            take(page, name, url, text)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch) / "project")
