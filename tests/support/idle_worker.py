"""A worker process that is ready at once and never ticks; with a file `stubborn` in its state it ignores SIGTERM."""

import signal
from decimal import Decimal

from flows.runtime.stack.children import worker_ready_file
from flows.runtime.stack.stop_report import worker_stop_file, write_report
from tasks.settings.environment import state_dir
from tasks.tick.stopping import StopReport


def main() -> None:
    """Wait for SIGTERM."""
    stubborn = (state_dir() / "stubborn").exists()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: None)
    worker_ready_file(state_dir()).touch()
    while True:
        signal.pause()
        if not stubborn:
            write_report(worker_stop_file(state_dir()), StopReport(orders_open=(), reserved=Decimal(0)))
            return


if __name__ == "__main__":
    main()
