"""The dashboard tells of dark symbols where every worker is dead: then no other process is left to do it."""

import logging
import os
import threading
import time

from dashboard.connection import NoData, reader
from tasks.base.errors import GridflowError
from tasks.control.dark import LastWatch

log = logging.getLogger(__name__)
_SECONDS = 5.0


def start_last_watch() -> None:
    """Look each few seconds, in a thread of its own, until the process ends."""
    threading.Thread(target=_keep_watch, name="last-watch", daemon=True).start()


def _keep_watch() -> None:
    source = reader()
    watch = LastWatch(source.settings, f"dashboard {os.getpid()}")
    while True:
        time.sleep(_SECONDS)
        try:
            source.read(watch.look)
        except NoData:
            continue  # the reader logs an outage of Redis once
        except GridflowError as error:
            log.debug("the last watch cannot look", extra={"error": str(error)})
