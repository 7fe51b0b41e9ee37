"""The market that a paper exchange trades on: brings symbols up to date and runs operations, one round trip each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import StateError
from tasks.paper.candles import Bar, Series
from tasks.paper.live_prices import LivePrices
from tasks.paper.scripts import Call, Code, PaperKeys, Scripts
from tasks.paper.stored_market import StoredMarket, open_stored

CHUNK = 200  # candles in one script call
POLL_MS = 1000

ArgsAtPrice = Callable[[int], Sequence[str]]


@dataclass
class View:
    """What this process last heard of a symbol: candles done and last price (units)."""

    cursor: int
    last: int


@dataclass(frozen=True)
class Answer:
    """A script's answer: state of the symbol after it, and its texts."""

    cursor: int
    last: int
    now_ms: int
    market_ms: int
    texts: list[str]


@dataclass(frozen=True)
class Operation:
    """Something to do with a symbol. `args` may depend on the price (units): then the price is held fast meanwhile."""

    symbol: str
    name: str
    args: Sequence[str] | ArgsAtPrice
    request: str | None = None


def reading(symbol: str, *args: str) -> Operation:
    """A read operation (see read.lua)."""
    return Operation(symbol, "read", args)


def writing(symbol: str, name: str, args: Sequence[str] | ArgsAtPrice) -> Operation:
    """A place or cancel operation under a fresh request id, so that a repeated call does not act twice."""
    return Operation(symbol, name, args, request=uuid4().hex)


class PaperMarket:
    """Symbols, their candles and where each stands; all state that matters is in Redis."""

    def __init__(
        self,
        scripts: Scripts,
        keys: PaperKeys,
        stored: StoredMarket,
        series: Mapping[str, Series],
        views: dict[str, View],
        clock: Clock = utc_now,
        live: LivePrices | None = None,
    ) -> None:
        self.stored, self.series, self.live = stored, series, live
        self._scripts, self._keys, self._views, self._clock = scripts, keys, views, clock
        self._targets: dict[str, int] = {}
        self._polled_ms = 0

    @property
    def now_ms(self) -> int:
        """This process's clock."""
        return to_ms(self._clock())

    def view(self, symbol: str) -> View:
        """What this process last heard of `symbol`."""
        return self._views[symbol]

    async def run(self, *operations: Operation) -> list[Answer]:
        """Brings the symbols up to date and answers all operations, in one round trip where nothing interferes."""
        if self.live is not None:
            await self._poll()
        while True:
            ready = [await self._prepared(operation) for operation in operations]
            pending = [call for call, _ in ready]
            replies = await self._scripts.run(pending)
            done = [self._heard(operation.symbol, reply) for operation, reply in zip(operations, replies, strict=True)]
            codes = {Code(reply[0]) for reply in replies}
            if Code.REANCHORED in codes:
                await self._reload()
            if codes == {Code.OK} and all(complete for _, complete in ready):
                return done

    async def feed(self, symbol: str, count: int) -> None:
        """Moves a manual market on by `count` candles from where it stands in Redis."""
        await self.run(reading(symbol, "ticker"))
        self._targets[symbol] = self._views[symbol].cursor + count
        try:
            await self.run(reading(symbol, "ticker"))
        finally:
            del self._targets[symbol]

    async def beat(self) -> None:
        """Tells the market that somebody is there, so that its clock goes on running."""
        await open_stored(self._scripts, self._keys, self.now_ms, "", 0, [])

    async def _prepared(self, operation: Operation) -> tuple[Call, bool]:
        """The call, and whether it brings the symbol fully up to date."""
        view = self._views[operation.symbol]
        target = await self._target(operation.symbol)
        stop = min(target, view.cursor + CHUNK)
        bars = await self.series[operation.symbol].bars(view.cursor, stop) if stop > view.cursor else []
        reached = view.cursor + len(bars)
        complete = reached >= target
        keys = self._keys.of_symbol(operation.symbol)
        fed = self._fed(view.cursor, bars)
        if not complete:
            return Call("read", keys, [*self._head(""), *fed, "ticker"]), False
        fixed = callable(operation.args)
        args = operation.args(bars[-1].close if bars else view.last) if callable(operation.args) else operation.args
        extra = [self._keys.request(operation.request)] if operation.request else []
        head = self._head(str(reached) if fixed else "")
        return Call(operation.name, [*keys, *extra], [*head, *fed, *args]), True

    async def _target(self, symbol: str) -> int:
        cursor = self._views[symbol].cursor
        if self.stored.kind in {"manual", "live"} and symbol not in self._targets:
            return cursor
        complete = self._targets.get(symbol) or self.stored.clock.complete(self.now_ms)
        length = await self.series[symbol].length()
        return max(cursor, complete if length is None else min(complete, length))

    def _head(self, expected: str) -> list[str]:
        # on the real clock the server's own time counts: it holds even if this process sleeps before the call is sent
        now = "" if self._clock is utc_now else str(self.now_ms)
        return [now, str(self.stored.clock.epoch), expected]

    def _fed(self, first: int, bars: list[Bar]) -> list[str]:
        args = [str(first), str(len(bars))]
        clock, now = self.stored.clock, self.now_ms
        by_hand = self.stored.kind == "manual"
        for number, bar in enumerate(bars, first):
            begin, end = (now, now) if by_hand else (clock.wall(number), clock.wall(number + 1))
            args += map(str, (bar.at, bar.open, bar.high, bar.low, bar.close, begin, end))
        return args

    def _heard(self, symbol: str, reply: list[Any]) -> Answer:
        if Code(reply[0]) is Code.NO_MARKET:
            raise StateError(f"the paper market in {self._keys.market} is gone; restart to open a new one")
        view = self._views[symbol]
        view.cursor, view.last = int(reply[1]), int(reply[2])
        texts = [str(text) for text in reply[5:]]
        return Answer(view.cursor, view.last, int(reply[3]), int(reply[4]), texts)

    async def _reload(self) -> None:
        stored = await open_stored(self._scripts, self._keys, self.now_ms, "", 0, [])
        if stored is None:
            raise StateError(f"the paper market in {self._keys.market} is gone; restart to open a new one")
        self.stored = stored

    async def _poll(self) -> None:
        """Fetches live prices at most once a second over all processes; whoever comes meanwhile uses the last ones."""
        assert self.live is not None
        now = self.now_ms
        if now - self._polled_ms < POLL_MS:
            return
        self._polled_ms = now
        if not await self._scripts.claim(self._keys.poll, POLL_MS):
            return
        prices = await self.live.prices()
        polled = str(self.now_ms)
        head = [*self._head(""), "0", "0"]
        calls = [
            Call("tick", self._keys.of_symbol(symbol), [*head, str(int(price.scaleb(8))), polled])
            for symbol, price in prices.items()
        ]
        await self._scripts.run(calls)
