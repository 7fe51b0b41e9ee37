"""The market of a paper exchange: brings symbols up to date and runs operations, in one round trip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import StateError
from tasks.paper.candles import Bar, Series
from tasks.paper.live_prices import LivePrices
from tasks.paper.scripts import Answer, Call, Code, PaperKeys, Scripts
from tasks.paper.stored_market import StoredMarket, open_stored

CHUNK = 200  # candles in one script call
POLL_MS = 1000
_GONE = "The paper market was deleted from Redis (key {}). Restart to open a new one"

ArgsAtPrice = Callable[[int], Sequence[str]]


@dataclass
class Progress:
    """How far a symbol was at this process's last reading: candles done and last price (units)."""

    cursor: int
    last: int


@dataclass(frozen=True)
class Operation:
    """One operation on a symbol. `args` may depend on the price (units); the script then checks the price."""

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
    """Symbols, their candles and how far each is. The state is in Redis; this object keeps what it read last."""

    def __init__(
        self,
        scripts: Scripts,
        keys: PaperKeys,
        stored: StoredMarket,
        series: Mapping[str, Series],
        progress: dict[str, Progress],
        clock: Clock,
        live: LivePrices | None,
    ) -> None:
        self.stored, self.series, self.live = stored, series, live
        self._scripts, self._keys, self._progress, self._clock = scripts, keys, progress, clock
        self._targets: dict[str, int] = {}
        self._polled_ms = 0

    @property
    def now_ms(self) -> int:
        """This process's clock."""
        return to_ms(self._clock())

    async def run(self, *operations: Operation) -> list[Answer]:
        """Bring the symbols up to date and run all operations, in one round trip unless another process interferes.

        Raises StateError where the market was deleted from Redis, MarketDataError for a candle file that changed.
        """
        if self.live is not None:
            await self._poll()
        while True:
            calls = [await self._call(operation) for operation in operations]
            replies = await self._scripts.run([call for call, _ in calls])
            answers = [Answer.of(reply) for reply in replies]
            for operation, answer in zip(operations, answers, strict=True):
                self._follow(operation.symbol, answer)
            codes = {answer.code for answer in answers}
            if Code.REANCHORED in codes:
                await self._reload()
            if codes == {Code.OK} and all(is_complete for _, is_complete in calls):
                return answers

    async def advance(self, symbol: str, count: int) -> None:
        """Advance a manual market by `count` candles from where it is in Redis."""
        await self.run(reading(symbol, "ticker"))
        self._targets[symbol] = self._progress[symbol].cursor + count
        try:
            await self.run(reading(symbol, "ticker"))
        finally:
            del self._targets[symbol]

    async def beat(self) -> None:
        """Mark the market as in use, so that its clock keeps running."""
        await open_stored(self._scripts, self._keys, self.now_ms)

    async def _call(self, operation: Operation) -> tuple[Call, bool]:
        """The script call, and whether it brings the symbol fully up to date and runs the operation."""
        at = self._progress[operation.symbol]
        target = await self._target(operation.symbol)
        stop = min(target, at.cursor + CHUNK)
        bars = await self.series[operation.symbol].bars(at.cursor, stop) if stop > at.cursor else []
        reached = at.cursor + len(bars)
        keys = self._keys.of_symbol(operation.symbol)
        candles = self._candle_args(at.cursor, bars)
        if reached < target:
            return Call("read", keys, [*self._leading_args(""), *candles, "ticker"]), False
        args = operation.args(bars[-1].close if bars else at.last) if callable(operation.args) else operation.args
        extra = [self._keys.request(operation.request)] if operation.request else []
        head = self._leading_args(str(reached) if callable(operation.args) else "")
        return Call(operation.name, [*keys, *extra], [*head, *candles, *args]), True

    async def _target(self, symbol: str) -> int:
        cursor = self._progress[symbol].cursor
        if self.stored.kind in {"manual", "live"} and symbol not in self._targets:
            return cursor
        due = self._targets.get(symbol) or self.stored.clock.candles_complete(self.now_ms)
        length = await self.series[symbol].length()
        return max(cursor, due if length is None else min(due, length))

    def _leading_args(self, expected: str) -> list[str]:
        # On the real clock the script reads the server's time: it stays right if this process pauses before sending.
        now = "" if self._clock is utc_now else str(self.now_ms)
        return [now, str(self.stored.clock.epoch), expected]

    def _candle_args(self, first: int, bars: list[Bar]) -> list[str]:
        args = [str(first), str(len(bars))]
        clock, now = self.stored.clock, self.now_ms
        is_manual = self.stored.kind == "manual"
        for number, bar in enumerate(bars, first):
            begin, end = (now, now) if is_manual else (clock.opens_at_ms(number), clock.opens_at_ms(number + 1))
            args += map(str, (bar.at, bar.open, bar.high, bar.low, bar.close, begin, end))
        return args

    def _follow(self, symbol: str, answer: Answer) -> None:
        """Store the symbol's progress. Raises StateError where the market was deleted."""
        if answer.code is Code.NO_MARKET:
            raise StateError(_GONE.format(self._keys.market))
        progress = self._progress[symbol]
        progress.cursor, progress.last = answer.cursor, answer.last

    async def _reload(self) -> None:
        stored = await open_stored(self._scripts, self._keys, self.now_ms)
        if stored is None:
            raise StateError(_GONE.format(self._keys.market))
        self.stored = stored

    async def _poll(self) -> None:
        """Fetch live prices, at most once a second over all processes. In between, the last ones are used."""
        assert self.live is not None
        now = self.now_ms
        if now - self._polled_ms < POLL_MS:
            return
        self._polled_ms = now
        if not await self._scripts.claim(self._keys.poll, POLL_MS):
            return
        prices = await self.live.prices()
        polled = str(self.now_ms)
        head = [*self._leading_args(""), "0", "0"]
        calls = [
            Call("tick", self._keys.of_symbol(symbol), [*head, str(int(price.scaleb(8))), polled])
            for symbol, price in prices.items()
        ]
        await self._scripts.run(calls)
