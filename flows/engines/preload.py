"""What the fork server imports once, so that trials start with all of it.

Nothing of it is ever garbage, and looking for garbage among it is a fifth of the work of importing
(bench/startup.py). Frozen, children neither look through it nor copy its pages.
"""

import gc

from models.training.source import imported_source_digest

_was_enabled = gc.isenabled()
gc.disable()
imported_source_digest()
import models.training.fit  # noqa: E402 - after garbage collection is off
import models.training.worker  # noqa: E402, F401

gc.freeze()
if _was_enabled:
    gc.enable()
