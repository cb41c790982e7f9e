"""MLflow shows retrainings: a mirror that one thread of one process writes, rebuilt any time."""

from flows.tracking.drift import ShownReport, show_report
from flows.tracking.events import FlowRunInfo
from flows.tracking.mirror import Mirror, MirrorReport
from flows.tracking.store import Tracking, TrackingError, asking, open_tracking, tracking_uri
from flows.tracking.upkeep import SyncReport, reconcile, sync

__all__ = [
    "FlowRunInfo",
    "Mirror",
    "MirrorReport",
    "ShownReport",
    "SyncReport",
    "Tracking",
    "TrackingError",
    "asking",
    "open_tracking",
    "reconcile",
    "show_report",
    "sync",
    "tracking_uri",
]
