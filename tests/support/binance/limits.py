"""Request weights by endpoint, the limit a minute, and what happens to those who ignore it."""

import json
from collections import deque

from tests.support.binance.config import Config
from tests.support.binance.errors import BinanceError

_FIXED = {
    ("GET", "ping"): 1,
    ("GET", "time"): 1,
    ("GET", "exchangeInfo"): 20,
    ("GET", "klines"): 2,
    ("POST", "order"): 1,
    ("DELETE", "order"): 1,
    ("GET", "order"): 4,
    ("DELETE", "openOrders"): 1,
    ("GET", "allOrders"): 20,
    ("GET", "account"): 20,
    ("GET", "account/commission"): 20,
}


def weight_of(method: str, name: str, params: dict[str, str]) -> int:
    """Weight of one request; `name` is the path after `/api/v3/`."""
    one = "symbol" in params
    if name == "openOrders" and method == "GET":
        return 6 if one else 80
    if name == "myTrades":
        return 5 if "orderId" in params else 20
    if name == "ticker/24hr":
        named = 1 if one else len(json.loads(params.get("symbols", "[]")))
        return 2 if named in range(1, 21) else 40 if named in range(21, 101) else 80
    if name in ("ticker/price", "ticker/bookTicker"):
        return 2 if one else 4
    if name == "depth":
        limit = int(params.get("limit", 100))
        return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (10**9, 250)) if limit <= most)
    return _FIXED.get((method, name), 1)


class Limits:
    """Weight and orders used by the one IP and account, in fixed windows of the exchange's clock."""

    def __init__(self) -> None:
        self.used = self.highest = self.strikes = 0
        self.window = 0
        self.banned_until = 0
        self.orders: deque[int] = deque()

    def take(self, weight: int, now_ms: int, config: Config) -> None:
        """Count one request; raises 429 over the limit, 418 while banned."""
        if now_ms < self.banned_until:
            raise self._banned(now_ms)
        window = now_ms // config.weight_window_ms
        if window != self.window:
            self.window, self.used, self.strikes = window, 0, 0
        self.used += weight
        self.highest = max(self.highest, self.used)
        if self.used <= config.weight_limit:
            return
        self.strikes += 1
        if self.strikes > config.strikes:
            self.ban(config.ban_seconds, now_ms)
            raise self._banned(now_ms)
        left_ms = config.weight_window_ms - now_ms % config.weight_window_ms
        raise too_much(config.weight_limit, (left_ms + 999) // 1000)

    def take_order(self, now_ms: int, config: Config) -> None:
        """Count one new order; raises 429 over the limit of 10 seconds."""
        while self.orders and self.orders[0] <= now_ms - 10_000:
            self.orders.popleft()
        if len(self.orders) >= config.orders_per_10s:
            text = f"Too many new orders; current limit is {config.orders_per_10s} orders per 10 SECOND."
            raise BinanceError(-1015, text, 429, {"Retry-After": "10"})
        self.orders.append(now_ms)

    def ban(self, seconds: float, now_ms: int) -> None:
        """Shut the IP out for a while."""
        self.banned_until = now_ms + int(seconds * 1000)

    def lift(self) -> None:
        """Forget bans and use."""
        self.used = self.strikes = self.banned_until = 0
        self.orders.clear()

    def headers(self) -> dict[str, str]:
        """What every answer carries."""
        used = str(self.used)
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used, "X-MBX-ORDER-COUNT-10S": str(len(self.orders))}

    def _banned(self, now_ms: int) -> BinanceError:
        text = (
            f"Way too much request weight used; IP banned until {self.banned_until}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        left = max(1, (self.banned_until - now_ms + 999) // 1000)
        return BinanceError(-1003, text, 418, {"Retry-After": str(left)})


def too_much(limit: int, retry_after: float) -> BinanceError:
    """429: over the limit, come back later."""
    text = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return BinanceError(-1003, text, 429, {"Retry-After": str(int(retry_after))})
