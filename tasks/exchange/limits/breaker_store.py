"""Circuit breakers in Redis, shared by all workers: one per symbol and one for the exchange."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.base.errors import ExchangeError, ExchangeUnavailable, StateError, UnknownSymbol
from tasks.base.events import EVENTS_CAP
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.limits.circuit_breaker import (
    EXCHANGE_RULES,
    SYMBOL_RULES,
    Breaker,
    BreakerRules,
    Outcome,
    Phase,
    after_tick,
    before_tick,
    end_of_ban,
)

log = logging.getLogger(__name__)
EXCHANGE = "*"  # field of the exchange's breaker
_MAX_TRIES = 50


@dataclass(frozen=True)
class Pass:
    """Whether one tick may run; `report` takes it back with the tick's outcome.

    `at_rest`: both breakers were closed and counted no failure, so that a success changes nothing.
    """

    symbol: str
    owner: str
    allowed: bool
    wait_seconds: float = 0.0
    why: str = ""
    probe: bool = False
    at_rest: bool = True


@dataclass(frozen=True)
class _Snapshot:
    """Both breakers at one moment, with the text they were read from, and Redis's time."""

    now_ms: int
    banned_until_ms: int
    texts: Mapping[str, str]
    states: Mapping[str, Breaker]


def outcomes(error: Exception | None) -> tuple[Outcome, Outcome]:
    """The outcomes for (the symbol, the exchange) of a tick that ended with `error`.

    A request that the rate budget refused was never sent: it is neutral for both. A symbol that the exchange does not
    know says nothing about the exchange.
    """
    if error is None:
        return Outcome.SUCCESS, Outcome.SUCCESS
    if not isinstance(error, ExchangeError) or getattr(error.__cause__, "nothing_sent", False):
        return Outcome.NEUTRAL, Outcome.NEUTRAL
    if isinstance(error, ExchangeUnavailable) and not isinstance(error, UnknownSymbol):
        return Outcome.FAILURE, Outcome.FAILURE
    return Outcome.FAILURE, Outcome.NEUTRAL


def is_at_rest(text: str) -> bool:
    """Whether a stored breaker (its JSON, '' for none) is closed and counts no failure, so that any tick may run."""
    if not text:
        return True
    breaker = Breaker.model_validate_json(text)
    return breaker.phase is Phase.CLOSED and not breaker.failing


async def read_breakers(redis: RedisClient, keys: Keys) -> dict[str, Breaker]:
    """All stored breakers by symbol, and the exchange's under EXCHANGE. A breaker that never counted is not stored."""
    found = await redis.hgetall(keys.breakers)
    return {str(name): Breaker.model_validate_json(text) for name, text in found.items()}


class Breakers:
    """Decides before a tick and counts after it, for all workers. Redis's clock counts. Raises RedisError."""

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

    async def allowed(self, symbol: str, owner: str) -> Pass:
        """Whether `owner` may tick `symbol` now. An allowed tick must be reported afterwards.

        One round trip when no breaker changes.
        """
        given = Pass(symbol, owner, allowed=True)

        def decide(seen: _Snapshot) -> Mapping[str, Breaker]:
            nonlocal given
            now_ms, states = seen.now_ms, seen.states
            own, for_own = before_tick(states[symbol], self._symbol_rules, now_ms, owner)
            shared, for_shared = before_tick(
                states[EXCHANGE], self._exchange_rules, now_ms, owner, seen.banned_until_ms
            )
            closed_by = shared if not for_shared.allowed else own if not for_own.allowed else None
            is_probe = for_own.probe or for_shared.probe
            given = Pass(
                symbol,
                owner,
                allowed=closed_by is None,
                wait_seconds=max(for_own.wait_ms, for_shared.wait_ms) / 1000,
                why=closed_by.why if closed_by else "",
                probe=closed_by is None and is_probe,
                at_rest=not own.failing and symbol not in shared.failing and not is_probe,
            )
            if given.allowed:
                return {symbol: own, EXCHANGE: shared}
            return {EXCHANGE: shared} if shared.phase is Phase.OPEN else {}  # a ban may just have opened it

        await self._change(symbol, decide)
        return given

    async def report(self, given: Pass, error: Exception | None) -> None:
        """Count how the tick that `given` allowed has ended. No round trip for a success while both are at rest."""
        for_symbol, for_exchange = outcomes(error)
        if given.at_rest and for_symbol is not Outcome.FAILURE:
            return
        why = "" if error is None else str(error)[:200]

        def decide(seen: _Snapshot) -> Mapping[str, Breaker]:
            return {
                name: after_tick(seen.states[name], rules, seen.now_ms, given.owner, outcome, given.symbol, why)
                for name, rules, outcome in (
                    (given.symbol, self._symbol_rules, for_symbol),
                    (EXCHANGE, self._exchange_rules, for_exchange),
                )
            }

        await self._change(given.symbol, decide)

    async def _change(self, symbol: str, decide: Callable[[_Snapshot], Mapping[str, Breaker]]) -> None:
        """Read, decide, write; again when another worker has written in between. Raises StateError in the end."""
        for _ in range(_MAX_TRIES):
            seen = await self._read(symbol)
            changed = {name: new for name, new in decide(seen).items() if new != seen.states[name]}
            if not changed:
                return
            args: list[str | int] = [EVENTS_CAP]
            for name, new in changed.items():
                args += [name, seen.texts[name], new.model_dump_json(), _event(name, seen.states[name], new)]
            if await self._swap(keys=[self._keys.breakers, self._keys.events, self._keys.outbox], args=args):
                for name, new in changed.items():
                    _log(name, seen.states[name], new)
                return
        raise StateError(f"{self._keys.breakers} changes too often; the next tick tries again")

    async def _read(self, symbol: str) -> _Snapshot:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.breakers, [symbol, EXCHANGE])
            pipe.get(self._keys.ban)
            pipe.time()
            found, ban, (seconds, micros) = await pipe.execute()
        texts = {name: text or "" for name, text in zip((symbol, EXCHANGE), found, strict=True)}
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        return _Snapshot(
            now_ms=now_ms,
            banned_until_ms=end_of_ban(ban or "", now_ms),
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
