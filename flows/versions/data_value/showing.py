"""Keep an answer with its page and figures, in the reports it belongs to, and in MLflow."""

import logging
from collections.abc import Mapping
from pathlib import Path

from flows.records.data_value import folder_of, remember_value
from flows.registry.listing import list_versions
from flows.tracking.data_value import log_value
from flows.tracking.store import Tracking, TrackingError
from flows.versions.reports import renew_copy, report_here
from models.evaluation.data_value.figures import draw_value
from models.evaluation.data_value.records import DataValue
from models.evaluation.report.data_value import place_section, render_value_page

log = logging.getLogger(__name__)

PAGE = "data_value.html"


def keep_value(tracking: Tracking, value: DataValue) -> DataValue:
    """Write record, page and figures, put the section into reports here, and tell MLflow.

    The champion's report, and that of the version asked about, are those of this dataset that show
    it, and their copies in MLflow with them. Where MLflow refuses, a warning is logged, and the
    same command tells it later.
    """
    figures = draw_value(value)
    files = {f"{name}.svg": content for name, content in figures.items()}
    files[PAGE] = render_value_page(value, figures).encode()
    path = remember_value(value, files)
    try:
        _place(tracking, value, figures)
        run_id = log_value(tracking, value)
    except (TrackingError, OSError) as error:
        log.warning("%s has the value of data; MLflow does not: %s", path, error)
        return value
    value = value.model_copy(update={"run_id": run_id})
    remember_value(value)
    return value


def page_of(value: DataValue) -> Path:
    """Path of the page."""
    return folder_of(value) / PAGE


def _place(tracking: Tracking, value: DataValue, figures: Mapping[str, bytes]) -> None:
    for record in list_versions(tracking):
        asked = value.subject == f"version {record.version}"
        report = report_here(record) if asked or "champion" in record.aliases else None
        if report is None:
            continue
        if place_section(report, value, figures):
            renew_copy(tracking, record, report)
        else:
            log.info("%s: was written by an earlier release, and has no place for it", report)
