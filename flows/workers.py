"""How many trials run at once."""

import os

from flows.requests import Request
from models.config import Params


def workers_for(params: Params, request: Request) -> int:
    """Trials at once: as asked, else as many as the cores hold at `trial.threads` each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return request.workers or max(1, (cores or 1) // params.trial.threads)
