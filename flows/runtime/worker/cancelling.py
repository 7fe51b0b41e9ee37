"""Cooperative cancelling: a flow checks whether its run was cancelled; no run is killed in the middle.

The in-process worker sets the flag of a run. In a stock process pool the flag is never set: there Prefect ends the
whole process, which leases make harmless.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_flag: ContextVar[threading.Event | None] = ContextVar("gridflow_cancel_flag", default=None)


def cancel_requested() -> bool:
    """Whether an operator cancelled the flow run this is called from. Cheap: call it once per tick."""
    flag = _flag.get()
    return flag is not None and flag.is_set()


@contextmanager
def cancel_flag(flag: threading.Event) -> Iterator[None]:
    """Make `flag` the one that `cancel_requested` looks at in this context."""
    token = _flag.set(flag)
    try:
        yield
    finally:
        _flag.reset(token)
