"""Imports of the fork server, so that trials start with everything imported.

The garbage collector is off meanwhile: nothing of it is ever garbage, and collections are a fifth
of the work of importing (bench/startup.py). Frozen, children neither scan these objects nor copy
their pages.
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
