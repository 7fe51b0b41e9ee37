"""The result of a stop, and the files in which the stack's processes share it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings


@dataclass(frozen=True)
class StopResult:
    """How a stop ended. `orders_open` and `reserved` are None where the journal could not be read.

    `as_of` is set where the journal was read earlier: the orders open now may differ. `kept`: orders were to stay.
    """

    stopped: bool
    orders_open: list[dict[str, str]] | None
    reserved: str | None
    as_of: str | None = None
    kept: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether trading was stopped and no order is left but those that were to be kept."""
        return self.stopped and (self.orders_open == [] or (self.kept and self.orders_open is not None))

    def as_json(self) -> dict[str, Any]:
        """The object that `gridflow stop --json` prints."""
        return {"stopped": self.stopped, "orders_open": self.orders_open, "reserved": self.reserved, "kept": self.kept}

    def text(self) -> str:
        """The same in words, one order a line."""
        if self.orders_open is None:
            return "The journal could not be read: orders may be open. The next `gridflow up` finds them."
        if not self.orders_open:
            return "No order is open." if self.as_of is None else f"No order was open at {self.as_of}."
        when = "" if self.as_of is None else f" (as of {self.as_of})"
        how = "were kept open" if self.kept else "may be open"
        head = f"{len(self.orders_open)} order(s) {how}{when}, {self.reserved} reserved:"
        rows = ("  {symbol} {side} {qty} at {price} ({id})".format(**one) for one in self.orders_open)
        return "\n".join([head, *rows])


UNKNOWN = StopResult(stopped=False, orders_open=None, reserved=None)


def worker_stop_file(state: Path) -> Path:
    """The worker's own report of its stop; exists only after it."""
    return state / "worker.stopped"


def last_stop_file(state: Path) -> Path:
    """How the newest stack on this state folder ended."""
    return state / "last_stop.json"


def open_orders_file(state: Path) -> Path:
    """The open orders as the running stack last read them; used when Redis no longer answers."""
    return state / "open_orders.json"


def now_text() -> str:
    """The time now, as messages show it."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


async def read_orders(settings: Settings, redis: RedisClient) -> StopResult:
    """The orders that Redis holds now."""
    from tasks.tick.stopping import read_stop_report

    report = await read_stop_report(redis, Keys(settings.account), settings.symbols)
    return StopResult(stopped=report.is_clean, as_of=now_text(), **report.as_json())


async def is_compared(redis: RedisClient, account: str) -> bool:
    """Whether the journal in Redis may be relied on: it was compared with the exchange since Redis restarted."""
    from tasks.tick import store

    return await store.is_compared(redis, keys=Keys(account))


def keep_orders_file(state: Path) -> Path:
    """Exists while a stop under way leaves open orders as they are."""
    return state / "keep_orders"


def write_report(path: Path, left: Mapping[str, Any], kept: bool = False) -> None:
    """Write what a stop left: `StopReport.as_json()`. `kept`: orders were to stay."""
    write_result(path, StopResult(stopped=True, kept=kept, **left))


def write_result(path: Path, result: StopResult, started: str = "") -> None:
    """Replace the file in one step; `started` names the stack that it belongs to."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(asdict(result) | {"started": started}) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_result(path: Path, started: str = "") -> StopResult | None:
    """The result in the file, if it belongs to the stack that began at `started`."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("started") != started:
            return None
        return StopResult(**raw)
    except (OSError, ValueError, KeyError, TypeError):
        return None
