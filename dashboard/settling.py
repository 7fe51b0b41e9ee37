"""Garbage collections of the dashboard's process: what stays loaded is kept out of them, and they are few.

Streamlit collects all garbage after each refresh of each part of each tab. With the modules in it, that takes 50 ms:
two thirds of what an open tab costs. Without them it still is a sixth. One collection in half a minute is enough.
"""

import gc
import sys

from streamlit import config

COLLECT_SECONDS = 30.0
_known = [0]  # modules that were loaded at the last call
_collected = [0.0]


def collect_ourselves() -> None:
    """Streamlit no longer collects after each refresh; `collect` does."""
    config.set_option("runner.postScriptGC", False)


def collect(now: float) -> None:
    """Collect all garbage, once in `COLLECT_SECONDS` at most. `now`: seconds of a monotonic clock."""
    if now - _collected[0] >= COLLECT_SECONDS:
        _collected[0] = now
        gc.collect()


def settle() -> None:
    """Take what is loaded now out of garbage collections. Does nothing where no module was loaded since the last call.

    Libraries load parts of theirs late: pandas comes with the first chart.
    """
    if len(sys.modules) == _known[0]:
        return
    gc.collect()
    gc.freeze()
    _known[0] = len(sys.modules)
