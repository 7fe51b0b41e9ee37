"""A stand-in of the worker process that only cancels open orders; it is run as a module."""

import sys

from flows.runtime.stack.children import ONLY_STOP
from flows.runtime.stack.stop_report import worker_stop_file, write_report
from tasks.settings.environment import state_dir

if __name__ == "__main__":
    assert sys.argv[1:] == [ONLY_STOP]
    write_report(worker_stop_file(state_dir()), {"orders_open": [], "reserved": "0"})
