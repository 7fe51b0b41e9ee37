"""Circuit breakers in Redis, shared by all workers: one per symbol and one for the exchange."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.base.errors import ExchangeError, ExchangeUnavailable, StateError
from tasks.base.events import EVENTS_CAP
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.limits.breaker_rules import (
    EXCHANGE_RULES,
    SYMBOL_RULES,
    Breaker,
    BreakerRules,
    Outcome,
    Phase,
    ask,
    tell,
)

log = logging.getLogger(__name__)
EXCHANGE = "*"  # field of the exchange's breaker
_TRIES = 50


@dataclass(frozen=True)
class Pass:
    """The answer to one tick's question; goes back with `report`. `quiet`: nothing was amiss when it was given."""

    symbol: str
    who: str
    allowed: bool
    wait_seconds: float = 0.0
    why: str = ""
    probe: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class _Seen:
    """Both breakers as they stood, with the text they were read from, and Redis's time."""

    now_ms: int
    banned_until_ms: int
    texts: Mapping[str, str]
    states: Mapping[str, Breaker]


def outcomes(error: Exception | None) -> tuple[Outcome, Outcome]:
    """What a tick that ended with `error` says of (its symbol, the exchange).

    A call that was refused here, before it was sent, says nothing of either.
    """
    if error is None:
        return Outcome.SUCCESS, Outcome.SUCCESS
    if not isinstance(error, ExchangeError) or getattr(error.__cause__, "nothing_sent", False):
        return Outcome.NEITHER, Outcome.NEITHER
    if isinstance(error, ExchangeUnavailable):
        return Outcome.FAILURE, Outcome.FAILURE
    return Outcome.FAILURE, Outcome.NEITHER


def is_at_rest(text: str) -> bool:
    """Whether a stored breaker (its JSON, '' for none) is closed and counts no failure: nobody need ask it."""
    if not text:
        return True
    breaker = Breaker.model_validate_json(text)
    return breaker.phase is Phase.CLOSED and not breaker.failing


async def read_breakers(redis: RedisClient, keys: Keys) -> dict[str, Breaker]:
    """Breakers that were ever needed, by symbol; EXCHANGE for the exchange's."""
    found = await redis.hgetall(keys.breakers)
    return {str(name): Breaker.model_validate_json(text) for name, text in found.items()}


class Breakers:
    """Asked before a tick and told after it. Redis's clock counts. Raises RedisError when Redis is away."""

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        symbol_rules: BreakerRules = SYMBOL_RULES,
        exchange_rules: BreakerRules = EXCHANGE_RULES,
    ) -> None:
        self._redis, self._keys = redis, keys
        self._symbol_rules, self._exchange_rules = symbol_rules, exchange_rules
        self._swap = script(redis, "tasks.exchange.limits", "breaker_swap")

    async def allowed(self, symbol: str, who: str) -> Pass:
        """May `who` tick `symbol` now? One round trip while all is well. A pass that is allowed must be reported."""
        given = Pass(symbol, who, allowed=True)

        def decide(seen: _Seen) -> Mapping[str, Breaker]:
            nonlocal given
            own, door = ask(seen.states[symbol], self._symbol_rules, seen.now_ms, who)
            whole, gate = ask(seen.states[EXCHANGE], self._exchange_rules, seen.now_ms, who, seen.banned_until_ms)
            closed_by = whole if not gate.allowed else own if not door.allowed else None
            given = Pass(
                symbol,
                who,
                allowed=closed_by is None,
                wait_seconds=max(door.wait_ms, gate.wait_ms) / 1000,
                why=closed_by.why if closed_by else "",
                probe=closed_by is None and (door.probe or gate.probe),
                quiet=not own.failing and symbol not in whole.failing and not door.probe and not gate.probe,
            )
            if given.allowed:
                return {symbol: own, EXCHANGE: whole}
            return {EXCHANGE: whole} if whole.phase is Phase.OPEN else {}  # a ban may just have opened it

        await self._change(symbol, decide)
        return given

    async def report(self, given: Pass, error: Exception | None) -> None:
        """How the tick that `given` let through went. No round trip while all is well."""
        for_symbol, for_exchange = outcomes(error)
        if given.quiet and for_symbol is not Outcome.FAILURE:
            return
        why = "" if error is None else str(error)[:200]

        def decide(seen: _Seen) -> Mapping[str, Breaker]:
            return {
                name: tell(seen.states[name], rules, seen.now_ms, given.who, outcome, given.symbol, why)
                for name, rules, outcome in (
                    (given.symbol, self._symbol_rules, for_symbol),
                    (EXCHANGE, self._exchange_rules, for_exchange),
                )
            }

        await self._change(given.symbol, decide)

    async def _change(self, symbol: str, decide: Callable[[_Seen], Mapping[str, Breaker]]) -> None:
        """Read, decide, swap; anew when somebody else was quicker."""
        for _ in range(_TRIES):
            seen = await self._read(symbol)
            changed = {name: new for name, new in decide(seen).items() if new != seen.states[name]}
            if not changed:
                return
            args: list[str | int] = [EVENTS_CAP]
            for name, new in changed.items():
                args += [name, seen.texts[name], new.model_dump_json(), _event(name, seen.states[name], new)]
            if await self._swap(keys=[self._keys.breakers, self._keys.events], args=args):
                for name, new in changed.items():
                    _log(name, seen.states[name], new)
                return
        raise StateError(f"{self._keys.breakers} changes all the time; the next tick tries again")

    async def _read(self, symbol: str) -> _Seen:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.breakers, [symbol, EXCHANGE])
            pipe.get(self._keys.ban)
            pipe.time()
            found, ban, (seconds, micros) = await pipe.execute()
        texts = {name: text or "" for name, text in zip((symbol, EXCHANGE), found, strict=True)}
        return _Seen(
            now_ms=int(seconds) * 1000 + int(micros) // 1000,
            banned_until_ms=int(ban or 0),
            texts=texts,
            states={name: Breaker.model_validate_json(text) if text else Breaker() for name, text in texts.items()},
        )


def _event(name: str, before: Breaker, after: Breaker) -> str:
    if before.phase is after.phase:
        return ""
    body = {
        "breaker": "exchange" if name == EXCHANGE else name,
        "from": before.phase.value,
        "to": after.phase.value,
        "why": after.why,
        "retry_at_ms": after.retry_at_ms,
    }
    return json.dumps(body)


def _log(name: str, before: Breaker, after: Breaker) -> None:
    if before.phase is after.phase:
        return
    level = logging.WARNING if after.phase is Phase.OPEN else logging.INFO
    fields = {"breaker": "exchange" if name == EXCHANGE else name, "phase": after.phase.value, "why": after.why}
    log.log(level, "circuit breaker changed", extra=fields)
