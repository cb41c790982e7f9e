"""`pitchpipe open`: pages of a running `up`, and the champion's report, in the browser."""

import html
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flows.runtime.prefect_server import RunningServices, running_services
from flows.runtime.servers import PREFECT_HOME
from flows.schedules.status_page import Link
from models.errors import PitchpipeError
from models.files import replacing

if TYPE_CHECKING:
    from flows.tracking.store import Tracking

PageName = Literal["runs", "flows", "report", "champion"]
DOOR = PREFECT_HOME / "open.html"
"""Leads to a page of our servers and signs the browser in; the owner's alone, as the password."""


def page_link(page: PageName, read: "Callable[[], Tracking]") -> Link:
    """Return where a page is: of `up`, or the file of the champion's report.

    read: opens MLflow, which takes seconds; asked only where the page needs it.
    Raises PitchpipeError where `up` does not run, ConfigError where there is no champion.
    """
    if page == "report":
        from flows.versions.reports import report_of  # noqa: PLC0415 - MLflow's, too, costs seconds

        return Link("Report", report_of(read(), "champion").resolve().as_uri())
    services = running_services()
    if services is None:
        raise PitchpipeError(
            "`pitchpipe up`, which serves the pages, does not run in this project; start it in "
            "another terminal, then open them"
        )
    if page == "flows":
        return Link("Prefect", services.prefect, password=services.prefect_password)
    return _of_mlflow(page, services, read())


def _of_mlflow(page: PageName, services: RunningServices, tracking: "Tracking") -> Link:
    from flows.registry.listing import find_version  # noqa: PLC0415 - as above
    from flows.retraining.summary_markdown import Links  # noqa: PLC0415
    from flows.schedules.up import links  # noqa: PLC0415

    _, _, runs = links(services, tracking)
    if page == "runs":
        return runs
    version = find_version(tracking, "champion").version
    where = Links(tracking.experiment_id, run="").to_version(tracking.name, version)
    return Link("Champion", services.mlflow, page=where, password=runs.password)


def open_in_browser(link: Link) -> bool:
    """Open a page, signed in; False where no browser is there.

    Other users of the machine can read the command lines of processes: the browser's has the path
    of a file that only its owner can read, and no password.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return browser.open(link.public if link.password is None else _door_to(link).as_uri())


def _door_to(link: Link) -> Path:
    address = html.escape(f"0; url={link.signed_in}", quote=True)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>pitchpipe</title>'
        f'<meta http-equiv="refresh" content="{address}"></html>\n'
    )
    with replacing(DOOR) as temporary:
        temporary.touch(mode=0o600)  # before anything is in it
        temporary.write_text(page, encoding="utf-8")
    return DOOR.resolve()
