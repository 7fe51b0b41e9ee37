"""A replay on the paper exchange, with a real server, against the exact backtest: `decide` gets the same inputs."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tasks.backtest import trader as backtest_trader
from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.request import paper_markets
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Candle
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.rebalancing import SCHEDULED
from tasks.orders.models import Evidence
from tasks.paper.opening import open_manual_exchange
from tasks.settings.model import Settings
from tasks.tick import trader as live_trader
from tasks.tick.decision import Decision, Readings, Rules
from tasks.tick.desk import Desk
from tasks.tick.sharing import share_pot
from tasks.tick.trader import GridTrader
from tests.support.desk import settings, walk

SYMBOLS = ("BTC/USDT", "ETH/USDT")
MINUTES = 75
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E[-+][0-9]+)?")
OF_TIME = {"at_ms", "cursor_ms", "hourly_returns", "opened_ms", "ended_ms", "created_ms"}
NAMES = {"trade_id", "trade_ids", "exchange_id"}  # numbers that the exchange gave


def without(values: Any) -> Any:
    """The values without moments and without the exchange's numbers."""
    if isinstance(values, dict):
        return {str(key): without(one) for key, one in values.items() if key not in OF_TIME | NAMES}
    if isinstance(values, str) and NUMBER.fullmatch(values):
        return plain(Decimal(values))  # one number, one text
    return [without(one) for one in values] if isinstance(values, (list, tuple)) else values


def shown(evidence: Evidence) -> Any:
    """One order's evidence."""
    orders = [one and [one.status.value, str(one.filled)] for one in (evidence.resting, evidence.found)]
    return [evidence.looked_up, orders, [trade.model_dump(mode="json") for trade in evidence.trades]]


def bytes_of(readings: Readings) -> bytes:
    """What `decide` reads, as bytes: prices, money, cells, orders, evidence, books."""
    state = readings.state
    share = state.share
    texts = {
        "price": str(readings.ticker.last.normalize()),
        "money": [share.allocated_units, share.used_units, share.reserved_units, state.pool_free_units],
        "cells": {key: cell.model_dump(mode="json") for key, cell in sorted(state.cells.items())},
        "intents": {key: intent.model_dump(mode="json") for key, intent in sorted(state.intents.items())},
        "evidence": {key: shown(one) for key, one in sorted(readings.evidence.items())},
        "book": {name: str(one) for name, one in state.book.model_dump().items() if name not in OF_TIME},
        "open": sorted(order.client_id for order in readings.open_orders),
        "refused": dict(state.last.refused) if state.last else {},
        "slots": dict(sorted(readings.slots.items())),
        "limits": state.limits_version > 0,
        "flags": [state.paused, state.stopped, state.short, share.paused, share.liquidate, share.fired],
    }
    return json.dumps(without(texts), sort_keys=True).encode()


def difference(live: bytes, simulated: bytes) -> list[str]:
    """Where two inputs differ."""
    one, other = (json.loads(text) for text in (live, simulated))
    return [f"{name}: {one[name]} / {other[name]}" for name in one if one[name] != other[name]]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, list[bytes]]]:
    """Record what the `decide` of a module reads, by symbol."""

    def record(module: Any) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        decide = module.decide

        def recorded(rules: Rules, readings: Readings) -> Decision:
            found.setdefault(rules.symbol, []).append(bytes_of(readings))
            decision: Decision = decide(rules, readings)
            return decision

        monkeypatch.setattr(module, "decide", recorded)
        return found

    return record


def own_settings(size: dict[str, str], fees: str) -> Settings:
    """Two symbols, narrow grids, little money."""
    grids = {
        "BTC/USDT": {"grid": "geometric", "range_pct": "0.012", "cells": 8, "start": "balanced", **size},
        "ETH/USDT": {
            "grid": "arithmetic",
            "lower": "2268",
            "upper": "2310",
            "cells": 8,
            "stop_loss_price": "2250",
            **size,
        },
    }
    return settings(
        symbols=grids,
        total_funds="900",
        allocation_strategy="equal",
        paper={"fee_currency": fees, "market": "synthetic"},
    )


async def replay(redis: RedisClient, own: Settings, candles: dict[str, list[Candle]]) -> tuple[Any, Any]:
    """A tick of each symbol after each candle, on the paper exchange: trades and books by symbol."""
    first_ms = candles[SYMBOLS[0]][0].at_ms
    now = [datetime.fromtimestamp(first_ms / 1000, UTC)]
    exchange = await open_manual_exchange(own, redis, candles, lambda: now[0])
    client = CcxtClient(exchange)
    allocator = GlobalFundAllocator.from_settings(own, redis, lambda: now[0])
    desk = Desk(own, redis, client, allocator, Keys(own.account), lambda: now[0])
    await share_pot(desk, "start")
    markets = await client.markets(list(SYMBOLS))
    traders = [GridTrader(desk, markets[symbol], "test") for symbol in SYMBOLS]
    for minute in range(MINUTES + 1):
        for trader in traders:
            await trader.tick()
        if minute and minute % 60 == 0:  # the walk begins on the hour
            await share_pot(desk, SCHEDULED, force=True)
        if minute < MINUTES:
            now[0] = datetime.fromtimestamp(first_ms / 1000 + 60 * (minute + 1), UTC)
            await exchange.advance(1)
    trades = {symbol: await exchange.fetch_my_trades(symbol, None, 1000) for symbol in SYMBOLS}
    books = {symbol: json.loads(str(await redis.get(desk.keys.book(symbol)))) for symbol in SYMBOLS}
    await client.close()
    sold = {
        symbol: [(one["side"], one["info"]["price"], one["info"]["qty"], one["info"]["fee"]) for one in found]
        for symbol, found in trades.items()
    }
    return sold, books


@pytest.mark.parametrize(
    ("size", "fees", "reinvest"),
    [
        ({}, "quote", False),
        ({}, "quote", True),
        ({"quote_per_cell": "70"}, "quote", False),
        ({"quote_per_cell": "40"}, "base", True),
    ],
)
async def test_a_replay_and_a_backtest_decide_on_the_same(
    redis: RedisClient,
    recorder: Callable[[Any], dict[str, list[bytes]]],
    size: dict[str, str],
    fees: str,
    reinvest: bool,
) -> None:
    """Byte for byte at every tick: prices, money, cells, orders, what became of them. So the trades are the same."""
    own = own_settings(size, fees).model_copy(update={"reinvest": reinvest})
    starts = {"BTC/USDT": "42000", "ETH/USDT": "2290"}
    candles = {name: walk(MINUTES, seed, start, 60) for seed, (name, start) in enumerate(starts.items(), 5)}
    live, simulated = recorder(live_trader), recorder(backtest_trader)
    trades, _ = await replay(redis, own, candles)
    columns = {symbol: CandleColumns.of(found) for symbol, found in candles.items()}
    played = Engine(own, paper_markets(own, columns), columns, skips=False).play()
    for symbol in SYMBOLS:
        ticks = len(live[symbol])
        assert ticks == MINUTES + 1
        differing = [n for n in range(ticks) if simulated[symbol][n] != live[symbol][n]]
        assert not differing, (
            symbol,
            differing[0],
            *difference(live[symbol][differing[0]], simulated[symbol][differing[0]]),
        )
    assert sum(map(len, trades.values())) > 25
    assert (played.pot.pool != 855 * 10**8) == reinvest, "profit entered both pools, after an hour"
    sums = {symbol: run.trader.records.book for symbol, run in played.runs.items()}
    assert {symbol: book.buys + book.sells for symbol, book in sums.items()} == {
        symbol: len(found) for symbol, found in trades.items()
    }
