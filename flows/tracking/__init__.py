"""MLflow shows retrainings: a mirror that one thread of one process writes, rebuilt any time."""

from flows.tracking.drift import show_report
from flows.tracking.events import FlowRunInfo
from flows.tracking.mirror import Mirror, MirrorReport
from flows.tracking.retention import Shown, remove_shown, shown_reports, shown_retrainings
from flows.tracking.store import Tracking, TrackingError, asking, open_tracking, tracking_uri
from flows.tracking.upkeep import SyncReport, reconcile, sync

__all__ = [
    "FlowRunInfo",
    "Mirror",
    "MirrorReport",
    "Shown",
    "SyncReport",
    "Tracking",
    "TrackingError",
    "asking",
    "open_tracking",
    "reconcile",
    "remove_shown",
    "show_report",
    "shown_reports",
    "shown_retrainings",
    "sync",
    "tracking_uri",
]
