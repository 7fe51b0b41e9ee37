"""Recorded candles of three symbols, traded for a month with fees in BNB, which is one of the symbols.

The workers' program trades whole grids on the loopback exchange through the real ccxt client, in virtual time. At the
end the books must equal the account, coin by coin. `python -m tests.support.fee_month FOLDER [MINUTES] [BNB]` plays all
1-minute candles of the files in FOLDER, with a tick every MINUTES, and prints the figures.
"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from json import dumps
from pathlib import Path

from tasks.base.keys import Keys
from tasks.base.money import ZERO, plain
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.grid.models import Cell
from tasks.ledger.models import Book
from tasks.ledger.rules import total, unvalued_fees, value
from tasks.ledger.steps import audit_funds
from tasks.settings.model import Settings
from tasks.tick.monitor import run_monitor
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk
from tests.support.month_loss import lose_redis
from tests.support.recorded import candles_in
from tests.support.virtual.desk import VirtualWorld, play_in_world

SYMBOLS = ("BTC/USDT", "ETH/USDT", "BNB/USDT")
QUOTE = Decimal(10_000)
RATE = Decimal("0.00075")
HOUR = 60
_GRIDS = {"BTC/USDT": ("38000", "49500"), "ETH/USDT": ("2100", "2750"), "BNB/USDT": ("286", "346")}


@dataclass
class Figures:
    """What the month showed. Amounts by coin; `fees`: (symbol, coin) → trades whose fee was paid in it."""

    ticks: int = 0
    trades: int = 0
    fees: dict[str, int] = field(default_factory=dict)
    cancelled_for_fees: int = 0
    refused_sells: int = 0
    bnb_fees: str = ""  # not paid by the cell of the order
    bnb_from_cells: str = ""
    bnb_from_own_stock: str = ""
    account: dict[str, str] = field(default_factory=dict)
    books: dict[str, str] = field(default_factory=dict)
    grid_profit: str = ""
    floating: str = ""


def settings_of_month() -> Settings:
    """Three grids that the month's prices stay within, most of the time."""
    grids = {
        symbol: {"grid": "geometric", "lower": low, "upper": high, "cells": 24, "start": "balanced"}
        for symbol, (low, high) in _GRIDS.items()
    }
    exchange = {"id": "binance", "live": True, "api_key": "k", "secret": "s"}
    return Settings.model_validate({"symbols": grids, "exchange": exchange, "live": True})


def play_month(
    candles: Mapping[str, Sequence[Candle]], per_tick: int, stock: Decimal, *, loses_redis: bool = False
) -> Figures:
    """Trade all candles, `per_tick` of them between two ticks, and compare the books with the account.

    `stock`: BNB on the account that no grid bought. `loses_redis`: at the end Redis is lost, and the books come back
    from the history. Raises AssertionError where books and account differ.
    """
    config = Config(balances={"USDT": QUOTE, "BNB": stock}, fee_currency="BNB", maker_fee=RATE, taker_fee=RATE, seed=1)
    figures = Figures()

    async def work(world: VirtualWorld) -> None:
        await _trade(world, candles, per_tick, figures)
        desk = world.worker()
        await _settle(desk)
        if loses_redis:
            desk = await lose_redis(world, desk)
            await _settle(desk)
        await check_account(desk, stock, figures)

    play_in_world(settings_of_month(), candles, work, config)
    return figures


async def _trade(world: VirtualWorld, candles: Mapping[str, Sequence[Candle]], per_tick: int, figures: Figures) -> None:
    desk = world.worker()
    await desk.desk.allocator.rebalance_if_needed(reason="start")
    traders = [await desk.trader(symbol) for symbol in SYMBOLS]
    for minute in range(0, len(candles[SYMBOLS[0]]), per_tick):
        for trader in traders:
            await trader.tick()
            figures.ticks += 1
        await desk.server.advance(per_tick)
        await asyncio.sleep(60 * per_tick)
        if minute % HOUR < per_tick:
            await run_monitor(desk.desk)
    for trader in traders:
        await trader.end_lease()


async def _settle(desk: BinanceDesk) -> None:
    """Tick until every trade is booked and no fee waits."""
    for _ in range(8):
        for symbol in SYMBOLS:
            await (await desk.trader(symbol)).tick()
        await asyncio.sleep(60)


async def book_of(redis: RedisClient, keys: Keys, symbol: str) -> Book:
    """One symbol's totals, exact in themselves and equal to its cells."""
    book = Book.model_validate_json(await redis.get(keys.book(symbol)) or "")
    cells = [Cell.model_validate_json(text) for text in await redis.hvals(keys.cells(symbol))]
    assert value(book, Decimal("417.13")).identity_error == 0, symbol
    assert book.base == total(cell.qty for cell in cells), symbol
    assert await redis.hlen(keys.fee_queue(symbol)) == 0, f"{symbol}: fees wait"
    return book


async def check_account(desk: BinanceDesk, stock: Decimal, figures: Figures | None = None) -> dict[str, Book]:
    """Raise AssertionError unless base and quote of the books are those of the account, to the last digit.

    `stock`: BNB that was there before anybody traded. It paid what no cell held. Returns the books by symbol.
    """
    redis, keys, balances = desk.desk.redis, desk.desk.keys, await desk.client.balances()
    books = {symbol: await book_of(redis, keys, symbol) for symbol in SYMBOLS}
    held = {coin: one.free + one.locked for coin, one in balances.items()}
    assert unvalued_fees(books.values()) == {}
    elsewhere = total(book.other_fees.get("BNB", ZERO) for book in books.values())
    from_stock = elsewhere - books["BNB/USDT"].fee_base
    assert 0 <= from_stock <= stock, f"{from_stock} BNB of fees from {stock} that no grid bought"
    wanted = {symbol.partition("/")[0]: book.base for symbol, book in books.items()}
    wanted["BNB"] += stock - from_stock
    wanted["USDT"] = QUOTE + total(book.cash for book in books.values())
    assert {coin: held.get(coin, ZERO) for coin in wanted} == wanted
    report = await audit_funds(redis, keys, SYMBOLS, desk.client)
    assert report.drift == (), report.drift
    if figures is not None:
        record = await desk.server.record()
        figures.trades = len(record.trades)
        figures.fees = dict(sorted(Counter(f"{one.symbol} {one.fee_asset}" for one in record.trades).items()))
        figures.cancelled_for_fees = sum(one.status == "CANCELED" and one.side == "SELL" for one in record.orders)
        figures.refused_sells = sum("-2010" in one.outcome for one in record.requests)
        figures.bnb_fees, figures.bnb_from_cells = plain(elsewhere), plain(books["BNB/USDT"].fee_base)
        figures.bnb_from_own_stock = plain(from_stock)
        figures.account = {coin: plain(held.get(coin, ZERO)) for coin in wanted}
        figures.books = {coin: plain(amount) for coin, amount in wanted.items()}
        prices = {name: desk.server.binance.engine.last(name.replace("/", "")) for name in SYMBOLS}  # type: ignore[attr-defined]
        values = [value(book, prices[symbol]) for symbol, book in books.items()]
        figures.grid_profit = plain(total(one.grid_profit for one in values))
        figures.floating = plain(total(one.floating for one in values))
    return books


def main(folder: str, minutes: str = "5", stock: str = "0.5") -> None:
    """Play the month and print its figures."""
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    files = {symbol: Path(folder) / f"{symbol.replace('/', '-')}-1m-2024-01.csv.gz" for symbol in SYMBOLS}
    candles = {symbol: candles_in(path) for symbol, path in files.items()}
    figures = play_month(candles, int(minutes), Decimal(stock), loses_redis=True)
    print(dumps(asdict(figures) | {"seconds": round(time.monotonic() - began)}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
