"""Watches the ticks of an account's symbols from outside, and who runs their windows."""

import json
import time
from collections.abc import Callable
from typing import Any

import redis as sync_redis

from tasks.base.keys import Keys
from tests.support.waiting import until

_DEAD_SECONDS = 10
_PATIENCE_SECONDS = 240
SYMBOLS = ("BTC/USDT", "ETH/USDT")


class SymbolWatch:
    """Reads an account's records in Redis."""

    def __init__(self, url: str, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self._redis = sync_redis.Redis.from_url(url, decode_responses=True)
        self._keys, self.symbols = Keys("main"), symbols

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def ticks(self) -> list[int]:
        """Ticks of each symbol so far."""
        counts: list[Any] = self._redis.hmget(self._keys.stats, [f"ticks|{symbol}" for symbol in self.symbols])
        return [int(count or 0) for count in counts]

    def workers(self) -> list[dict[str, Any]]:
        """The heartbeats of the workers that are alive."""
        stored: Any = self._redis.hvals(self._keys.workers)
        seconds, micros = self._redis.time()
        parts = [text.partition(" ") for text in stored]
        return [json.loads(body) for at, _, body in parts if seconds + micros / 1e6 - int(at) / 1000 < _DEAD_SECONDS]

    def windows(self, own: bool | None = None) -> dict[str, int]:
        """Symbol → process id of the living worker that runs a window of it: any, or only own or only Prefect's."""
        return {
            window["symbol"]: worker["pid"]
            for worker in self.workers()
            for window in worker["windows"]
            if own is None or window["own"] == own
        }

    def are_with(self, *pids: int) -> bool:
        """Whether all symbols are with these workers."""
        windows = self.windows()
        return set(windows) == set(self.symbols) and set(windows.values()) <= set(pids)

    def wait_ticking(self, more: int = 2, seconds: float = 60) -> None:
        """Until every symbol has ticked so often again."""
        before = self.ticks()
        until(lambda: all(new >= old + more for new, old in zip(self.ticks(), before, strict=True)), seconds, "ticks")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, oldest first."""
        entries: Any = self._redis.xrange(self._keys.events)
        return [json.loads(entry["body"]) for _, entry in entries if entry["type"] == kind]

    def longest_gap(self, question: Callable[[], object]) -> float:
        """The longest time that a symbol did not tick, until the answer is true (an error after some minutes)."""
        now = time.monotonic()
        deadline, last, longest = now + _PATIENCE_SECONDS, [(count, now) for count in self.ticks()], 0.0
        while not question():
            now = time.monotonic()
            assert now < deadline, f"not within {_PATIENCE_SECONDS} s"
            for index, count in enumerate(self.ticks()):
                if count != last[index][0]:
                    last[index] = count, now
                longest = max(longest, now - last[index][1])
            time.sleep(0.05)
        return longest
