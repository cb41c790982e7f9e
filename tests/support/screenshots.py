"""`make screenshots`: pages of a project made for them, into docs/screenshots/."""

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from project_folder import (
    REPOSITORY,
    ProjectFolder,
    make_project,
    overrides,
    read_until,
    services_of,
)

from flows.runtime.servers import free_port

FOLDER = REPOSITORY / "docs/screenshots"
CHROMIUM = "/usr/bin/chromium"
ASSISTANT_CLOSED = "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"
SEARCHES = (
    ("search.epochs=4", "[0.001, 0.003]"),
    ("search.epochs=6", "[0.003, 0.01]"),
)
"""Two retrainings: the second goes on with what the first trained."""


@contextmanager
def served(folder: ProjectFolder) -> Iterator[tuple[str, str]]:
    """Addresses of MLflow's page of retrainings, and of Prefect's UI."""
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start("up", *ports)
    lines = dict(line.split(maxsplit=1) for line in read_until(process, "Ctrl-C").splitlines())
    try:
        yield lines["Runs"].strip(), lines["Prefect"].strip()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def retrain_twice(folder: ProjectFolder) -> None:
    for epochs, rates in SEARCHES:
        axes = f"optimizer.learning_rate: {rates}, network.hidden_units: [32, 64]"
        ran = folder.pitchpipe(
            "run",
            *overrides(epochs, f"search.axes={{{axes}}}", "trial.network.channels=[8, 8, 8]"),
            timeout=900,
        )
        assert ran.code in (0, 3), ran.err


def pages(folder: ProjectFolder, runs: str, prefect: str) -> Iterator[tuple[str, str, str]]:
    """Name, address, and a text that shows that the page is there."""
    mlflow, _, _ = runs.partition("/#")
    run = one(folder, "mlruns/mlflow.db", "SELECT run_uuid FROM tags WHERE key = 'verdict'")
    flow_run = one(folder, ".prefect/prefect.db", "SELECT id FROM flow_run ORDER BY created DESC")
    training = "workflowType=machine_learning"
    yield "retrainings", runs, "test/accuracy"
    yield "trials", runs.replace("=retrainings", "=trials"), "best/accuracy"
    yield "retraining", f"{mlflow}/#/experiments/1/runs/{run}?{training}", "Look at"
    report = f"{mlflow}/#/experiments/1/runs/{run}/artifacts/report/report.html?{training}"
    yield "report", report, "report.html"
    yield "version", f"{mlflow}/#/models/digits-classifier/versions/1?{training}", "Won with"
    yield "flow_run", f"{prefect}/runs/flow-run/{flow_run}", "evaluate on test"


def one(folder: ProjectFolder, database: str, query: str) -> str:
    with closing(sqlite3.connect(folder.root / database)) as connection:
        return str(connection.execute(query).fetchone()[0])


def take(page: Page, name: str, url: str, text: str) -> None:
    page.goto("about:blank")
    page.goto(url)
    page.get_by_text(text).first.wait_for(state="attached")
    page.wait_for_timeout(4000)  # charts and frames are drawn when they like
    page.screenshot(path=FOLDER / f"{name}.png")


def main(root: Path) -> None:
    """Retrain, serve, look."""
    folder = make_project(root)
    retrain_twice(folder)
    FOLDER.mkdir(exist_ok=True)
    with served(folder) as (runs, prefect), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.add_init_script(ASSISTANT_CLOSED)
        page.goto(f"{prefect}/?token={services_of(folder.root).password}")
        for name, url, text in pages(folder, runs, prefect):
            take(page, name, url, text)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch) / "project")
