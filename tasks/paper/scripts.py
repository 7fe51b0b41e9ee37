"""The paper exchange's Redis keys, Lua scripts and result codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from tasks.base.keys import Keys, slug
from tasks.base.redis_client import RedisClient, registered, script_source

PACKAGE = "tasks.paper"
_WITH_ENGINE = ("place", "cancel", "read", "tick")
_NAMES = (*_WITH_ENGINE, "open_market", "open_symbol")


class Code(IntEnum):
    """Result codes of a script; engine.lua has the same list."""

    OK = 0
    BEHIND = 1
    MOVED = 2
    REANCHORED = 3
    NO_MARKET = 4


class Answer(NamedTuple):
    """What place, cancel, read and tick return: the state of the symbol's market, and the operation's own texts.

    The order of the fields is the script's; engine.lua has the same list. `last` in units of 1e-8 quote.
    """

    code: Code
    cursor: int  # candles done
    last: int
    now_ms: int
    market_ms: int
    texts: list[str]

    @classmethod
    def of(cls, reply: Sequence[Any]) -> "Answer":
        """The script's array as a record."""
        code, cursor, last, now_ms, market_ms, *texts = reply
        return cls(Code(code), int(cursor), int(last), int(now_ms), int(market_ms), [str(text) for text in texts])


class OpenedSymbol(NamedTuple):
    """What open_symbol.lua returns, in its order; prices in units of 1e-8 quote."""

    cursor: int  # candles done
    last: int
    first: int


class PlaceArgs(NamedTuple):
    """One order as place.lua takes it, in its order. Numbers as text: money in units of 1e-8, times in ms."""

    client: str
    side: str  # b, s
    type: str  # limit, market
    tif: str  # GTC, PO, IOC
    price: str
    qty: str
    mode: str  # rest, take, refuse
    lock: str
    credit: str
    cost: str
    fee: str
    fee_in: str  # b: base, q: quote
    signed: str  # empty: the request has no time
    valid_until: str


@dataclass(frozen=True, slots=True)
class Call:
    """One script call: its name, keys and arguments."""

    name: str
    keys: Sequence[str]
    args: Sequence[str]


class PaperKeys:
    """Names of the paper exchange's keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.market = keys.paper("market")
        self.balances = keys.paper("balances")
        self.poll = keys.paper("poll")

    def state(self, symbol: str) -> str:
        """Hash: the state of the symbol's market."""
        return self._keys.paper("state", slug(symbol))

    def candles(self, symbol: str) -> str:
        """List: all candles of a manual market."""
        return self._keys.paper("candles", slug(symbol))

    def request(self, request_id: str) -> str:
        """The answer already given to a request, for a minute."""
        return self._keys.paper("request", request_id)

    def of_symbol(self, symbol: str) -> list[str]:
        """KEYS 1–11 of the engine, in its order."""
        names = ("orders", "buys", "sells", "filled", "cancelled", "clients", "trades", "times")
        own = [self._keys.paper(name, slug(symbol)) for name in names]
        return [self.market, self.balances, self.state(symbol), *own]


def source_of(name: str) -> str:
    """Lua text of script `name`, with the engine in front where it needs it."""
    text = script_source(PACKAGE, name)
    return script_source(PACKAGE, "engine") + text if name in _WITH_ENGINE else text


class Scripts:
    """Runs the scripts: one call or a pipeline of them is one round trip."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._scripts = {name: registered(source_of(name)) for name in _NAMES}

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The answers, in order. Sends the scripts themselves where the server does not know them yet."""
        if len(calls) == 1:
            (call,) = calls
            return [await self._scripts[call.name](call.keys, call.args, client=self._redis)]
        try:
            return await self._pipelined(calls)
        except NoScriptError:
            return await self._pipelined(calls, known=False)

    async def claim(self, key: str, for_ms: int) -> bool:
        """Whether this process alone may act on `key` for the next `for_ms`."""
        return bool(await self._redis.set(key, "1", nx=True, px=for_ms))

    async def _pipelined(self, calls: Sequence[Call], *, known: bool = True) -> list[Any]:
        """All calls in one round trip. `known`: the server knows the scripts."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                script = self._scripts[call.name]
                run, by = (pipe.evalsha, script.sha) if known else (pipe.eval, script.text)
                run(by, len(call.keys), *call.keys, *call.args)
            return list(await pipe.execute())
