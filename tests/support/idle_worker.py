"""A worker process that is ready at once and never ticks; with a file `stubborn` in its state it ignores SIGTERM."""

import signal

from flows.runtime.children import worker_ready_file
from tasks.base.settings import state_dir


def main() -> None:
    """Wait for SIGTERM."""
    stubborn = (state_dir() / "stubborn").exists()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: None)
    worker_ready_file(state_dir()).touch()
    while True:
        signal.pause()
        if not stubborn:
            return


if __name__ == "__main__":
    main()
