"""Two workers of one account for a while, with a random fault a minute: what was dark, what grew, are the books exact.

Run by hand: `python -m tests.benchmarks.soak [MINUTES]`. A worker is killed, frozen for half a minute, or ended in
order, or the Prefect server is killed for half a minute; what ended is started again. Prints the longest time without a
tick, the slope of each worker's memory, and at the end the identity of the books and what is open after a stop.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import redis as sync_redis

from tasks.base.keys import Keys
from tests.support.prefect_stack import PrefectStack, prefect_stack
from tests.support.real_workers import SETTINGS, RealWorker
from tests.support.servers import redis_server
from tests.support.symbol_watch import SymbolWatch
from tests.support.up import GRIDFLOW
from tests.support.waiting import until

_FAULT_SECONDS = 60.0
_OUT_SECONDS = 30.0
_STRETCH_SECONDS = 200.0
_SAMPLE_SECONDS = 10.0
_OWN = SETTINGS.replace("window_seconds = 10", "window_seconds = 30")


class Crew:
    """Two workers, and the memory of each since it started (MiB, by second)."""

    def __init__(self, server: PrefectStack, url: str, folder: Path) -> None:
        self._server, self._url, self._folder = server, url, folder
        self.workers = [self._new(), self._new()]
        self.memory: dict[int, list[tuple[float, float]]] = {}
        self.faults: list[str] = []

    def _new(self) -> RealWorker:
        return RealWorker(self._server, self._url, self._folder, settings=_OWN)

    def sample(self) -> None:
        """Note what each living worker holds."""
        for each in self.workers:
            if each.process.poll() is None:
                mib = psutil.Process(each.process.pid).memory_info().rss / 2**20
                self.memory.setdefault(each.process.pid, []).append((time.monotonic(), mib))

    def fault(self, rng: random.Random) -> None:
        """One fault; what it ended is started again."""
        kind = rng.choice(["killed", "frozen", "ended", "Prefect killed"])
        self.faults.append(kind)
        index = rng.randrange(len(self.workers))
        victim = self.workers[index]
        if kind == "Prefect killed":
            self._server.kill_server()
            time.sleep(_OUT_SECONDS)
            self._server.start_server()
            return
        if kind == "frozen":
            victim.process.send_signal(signal.SIGSTOP)
            time.sleep(_OUT_SECONDS)
            victim.process.send_signal(signal.SIGCONT)
            return
        victim.end(signal.SIGKILL if kind == "killed" else signal.SIGTERM)
        self.workers[index] = self._new()

    def slopes(self) -> list[str]:
        """MiB an hour of each worker that ran for two minutes, after its first one."""
        found = []
        for pid, samples in self.memory.items():
            warm = [(at, mib) for at, mib in samples if at >= samples[0][0] + 60]
            if len(warm) > 1 and warm[-1][0] - warm[0][0] >= 60:
                (first, low), (last, high) = warm[0], warm[-1]
                found.append(f"{pid}: {low:.0f} → {high:.0f} MiB in {last - first:.0f} s")
        return found


def main() -> None:
    """See the module."""
    seconds = 60 * float(sys.argv[1] if len(sys.argv) > 1 else "10")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        (folder / "redis").mkdir()
        with prefect_stack(folder / "stack") as server, redis_server(folder / "redis") as url:
            config = folder / "gridflow.toml"
            config.write_text(_OWN, encoding="utf-8")
            own = server.environment | {"GRIDFLOW_REDIS_URL": url, "GRIDFLOW_CONFIG": str(config)}
            command = [GRIDFLOW, "deploy", "--config", str(config), "--state", str(folder / "none")]
            subprocess.run(command, env=own, cwd=folder, check=True, capture_output=True)
            _soak(server, url, folder, seconds, own)


def _soak(server: PrefectStack, url: str, folder: Path, seconds: float, environment: dict[str, str]) -> None:
    crew, watch, rng = Crew(server, url, folder), SymbolWatch(url), random.Random(11)
    until(lambda: set(watch.windows()) == set(watch.symbols), 120, "the first windows")
    watch.wait_ticking()
    end = time.monotonic() + seconds
    gaps: list[tuple[float, str]] = []

    def strike() -> None:
        while time.monotonic() < end - _FAULT_SECONDS:
            crew.fault(rng)
            time.sleep(_FAULT_SECONDS / 2)

    striking = threading.Thread(target=strike)
    striking.start()
    while time.monotonic() < end or striking.is_alive():
        gap = watch.longest_gap(_sampling(crew, time.monotonic() + _STRETCH_SECONDS, end))
        gaps.append((gap, crew.faults[-1] if crew.faults else "nothing"))
    striking.join()
    stopping = [GRIDFLOW, "stop", "--json", "--force", "--state", str(folder / "none")]
    stopped = subprocess.run(
        stopping, env=os.environ | environment, cwd=folder, capture_output=True, text=True, check=False
    )
    status = subprocess.run(
        [GRIDFLOW, "status", "--json"],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    for each in crew.workers:
        each.end()
    view = json.loads(status.stdout)
    with sync_redis.Redis.from_url(url) as client:
        open_orders = sum(int(client.hlen(Keys("main").intents(symbol))) for symbol in watch.symbols)
    _say(f"faults: {', '.join(crew.faults)}")
    _say(f"longest time without a tick: {max(gaps)[0]:.1f} s (after: {max(gaps)[1]})")
    _say(f"dark symbols told: {len(watch.events('symbol_dark'))}, over: {len(watch.events('symbol_ticks'))}")
    _say("memory: " + "; ".join(crew.slopes()))
    _say(f"identity error: {view['identity_error']}; fills: {view['fills']}; ticks: {view['ticks']}")
    _say(f"stop: {stopped.stdout.strip() or stopped.stderr.strip()}; journalled orders afterwards: {open_orders}")
    watch.close()


def _sampling(crew: Crew, stretch_ends: float, end: float) -> Callable[[], bool]:
    """A question that notes the memory of the workers every ten seconds, and is true at the end of the stretch."""
    asked = [0.0]

    def is_over() -> bool:
        now = time.monotonic()
        if now - asked[0] >= _SAMPLE_SECONDS:
            asked[0] = now
            crew.sample()
        return now > min(stretch_ends, end + _OUT_SECONDS)

    return is_over


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
