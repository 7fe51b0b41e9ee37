"""A process above pytest that ends with it whatever its tests started. Linux only.

`guard` splits the process in two: pytest goes on in a child, and the process that the shell knows waits for it. Linux
hands every process whose parent has died to that one (PR_SET_CHILD_SUBREAPER), so all servers and workers of the tests
stay its descendants, also those with a session of their own. However pytest ends, they end after it.

Ctrl-C: pytest ends in its own way, with a time limit; a second Ctrl-C ends everything at once, as SIGTERM does.
"""

import ctypes
import os
import signal
import sys
import time

import psutil

PATIENCE_SECONDS = 30.0  # after the first Ctrl-C
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_TYPED = 0x80  # si_code of a signal of the terminal (SI_KERNEL): pytest has got it, too
_HEARD = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def guard() -> None:
    """Return in a child of this process. This process itself waits for it, ends what is left, and exits as it did."""
    if sys.platform != "linux":
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pytest = os.fork()
    if pytest == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    code = 1
    try:
        code = _wait(pytest)
        end_descendants()
    finally:
        os._exit(code)


def end_descendants() -> int:
    """Kill every descendant, also those that are started meanwhile. How many there were."""
    ended = 0
    while descendants := [each for each in psutil.Process().children(recursive=True) if _runs(each)]:
        for each in descendants:
            try:
                each.kill()
                ended += 1
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(descendants, timeout=5)
        _reap()
    return ended


def _wait(pytest: int) -> int:
    """Until pytest has ended, or must not go on; the exit code for the shell."""
    deadline: float | None = None
    while True:
        heard = signal.sigtimedwait(_HEARD, 1.0)
        ended = _reap().get(pytest)
        if ended is not None:
            return ended if ended >= 0 else 128 - ended
        if deadline is not None and time.monotonic() > deadline:
            return 128 + signal.SIGINT
        if heard is None or heard.si_signo == signal.SIGCHLD:
            continue
        if heard.si_signo != signal.SIGINT or deadline is not None:
            return 128 + heard.si_signo
        deadline = time.monotonic() + PATIENCE_SECONDS
        if heard.si_code != _TYPED:
            os.kill(pytest, signal.SIGINT)


def _reap() -> dict[int, int]:
    """Exit codes of all children that have ended since the last call, by process id."""
    codes: dict[int, int] = {}
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            codes[found[0]] = os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        pass
    return codes


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
