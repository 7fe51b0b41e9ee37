"""Keeps what stays loaded out of garbage collections.

Streamlit collects all garbage after each refresh of each part of each tab. With the modules in it, that takes 50 ms:
two thirds of what an open tab costs.
"""

import gc
import sys

_known = [0]  # modules that were loaded at the last call


def settle() -> None:
    """Take what is loaded now out of garbage collections. Does nothing where no module was loaded since the last call.

    Libraries load parts of theirs late: pandas comes with the first chart.
    """
    if len(sys.modules) == _known[0]:
        return
    gc.collect()
    gc.freeze()
    _known[0] = len(sys.modules)
