"""Fees in BNB while BNB/USDT is traded: base and quote of the books are those of the account, whatever happens between.

On the loopback exchange, through the real ccxt client, in virtual time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from tasks.base import redis_client
from tasks.base.errors import ExchangeUnavailable, StateError
from tasks.base.money import ZERO
from tasks.exchange.models import Candle
from tasks.ledger.models import Book, QueuedFee
from tasks.ledger.rules import total, value
from tasks.tick.recover import open_books
from tasks.tick.write_off import write_off
from tasks.views.steps import read_status
from tests.support.binance.config import Config
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.faults import Fault, FaultKind
from tests.support.books import STEPS
from tests.support.delisted import Delisted
from tests.support.desk import walk
from tests.support.fee_month import QUOTE, RATE, SYMBOLS, check_account, play_month, settings_of_month
from tests.support.mortal import Killed
from tests.support.recorded import recorded_month
from tests.support.virtual.desk import VirtualWorld, play_in_world

pytestmark = pytest.mark.virtual_time
BTC, BNB = "BTC/USDT", "BNB/USDT"
STOCK = Decimal("0.5")
CANDLES = {
    symbol: tuple(walk(200, seed=number, start=price, step_bp=50))
    for number, (symbol, price) in enumerate(zip(SYMBOLS, ("43000", "2350", "312"), strict=True))
}


def play(work: Callable[[VirtualWorld, BinanceDesk], Awaitable[None]], candles: Mapping[str, Any] = CANDLES) -> None:
    """Open the pot over three symbols, with fees in BNB, and do `work`."""

    async def opened(world: VirtualWorld) -> None:
        desk = world.worker()
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        await work(world, desk)

    config = Config(balances={"USDT": QUOTE, "BNB": STOCK}, fee_currency="BNB", maker_fee=RATE, taker_fee=RATE)
    play_in_world(settings_of_month(), candles, opened, config)


async def tick(desk: BinanceDesk, *symbols: str, owner: str = "test") -> None:
    """One tick of each symbol; leases are given back."""
    for symbol in symbols:
        trader = await desk.trader(symbol, owner)
        await trader.tick()
        await trader.end_lease()


async def trade(desk: BinanceDesk, candles: int) -> None:
    """Tick all symbols and move the market."""
    for _ in range(candles):
        await tick(desk, *SYMBOLS)
        await desk.server.advance(1)
        await asyncio.sleep(60)


async def settle(desk: BinanceDesk) -> None:
    """Tick until all trades are booked and no fee waits."""
    for _ in range(4):
        await tick(desk, *SYMBOLS)
        await asyncio.sleep(60)


async def queued(desk: BinanceDesk) -> list[QueuedFee]:
    """The fees that wait for BNB/USDT."""
    texts = await desk.desk.redis.hvals(desk.desk.keys.fee_queue(BNB))
    return [QueuedFee.model_validate_json(text) for text in texts]


async def book(desk: BinanceDesk, symbol: str) -> Book:
    """A symbol's totals, whose identity is exact."""
    found = Book.model_validate_json(await desk.desk.redis.get(desk.desk.keys.book(symbol)) or "")
    assert value(found, Decimal("417.13")).identity_error == 0
    return found


async def until_queued(desk: BinanceDesk) -> list[QueuedFee]:
    """Trade until a tick of BTC/USDT has queued fees that BNB/USDT has not taken yet."""
    for _ in range(100):
        await tick(desk, *reversed(SYMBOLS))  # BTC/USDT comes last
        if found := await queued(desk):
            return found
        await desk.server.advance(1)
        await asyncio.sleep(60)
    raise AssertionError("no fee was queued")


def test_base_in_the_books_is_base_on_the_account() -> None:
    """70 minutes; every fee is in BNB, also those of BNB/USDT's own sells."""

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        await trade(desk, 70)
        await settle(desk)
        books = await check_account(desk, STOCK)
        trades = (await desk.server.record()).trades
        assert {one.fee_asset for one in trades} == {"BNB"}
        assert {one.symbol for one in trades if one.side == "SELL"} == {one.replace("/", "") for one in SYMBOLS}
        assert books[BNB].fee_base > 0
        assert books[BNB].other_fees["BNB"] > 0, "sells of all that a cell holds"
        assert total(one.other_value for one in books.values()) == 0, "every worth came back"

    play(work)


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_booking_and_paying(step: str) -> None:
    """The worker of BNB/USDT dies at each step of the tick that would take the fee. Another one takes it once."""

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        waiting, before = await until_queued(desk), await book(desk, BNB)

        def die(at: str) -> None:
            if at == step:
                raise Killed

        doomed = await desk.trader(BNB, "doomed", die)
        with pytest.raises(Killed):
            await doomed.tick()
        await asyncio.sleep(20)  # its lease runs out
        other = world.worker()
        await settle(other)
        assert await queued(other) == []
        paid = (await book(other, BNB)).fee_base - before.fee_base
        assert paid == total(fee.amount for fee in waiting)
        await check_account(other, STOCK)

    play(work)


def test_a_call_that_is_repeated_books_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of every record script is lost, and the client repeats the call: no fee is queued or paid twice."""
    once = redis_client.script

    def twice(client: Any, package: str, name: str) -> Any:
        call = once(client, package, name)

        async def repeated(**said: Any) -> Any:
            first = await call(**said)
            return first if name != "record" else min(first, await call(**said))

        return repeated

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        monkeypatch.setattr("tasks.funds.store.script", twice)
        await trade(desk, 40)
        await settle(desk)
        assert (await check_account(desk, STOCK))[BNB].fee_base > 0

    play(work)


def test_a_worth_that_cannot_be_read_is_booked_later() -> None:
    """The fill is booked at once with its fee's amount, status shows it as unvalued, and it waits in the queue.

    A later tick books the worth, once. The identity is exact before and after.
    """

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        await trade(desk, 3)
        await settle(desk)
        before = await book(desk, BTC)
        no_price = Fault(kind=FaultKind.DROP_BEFORE, path="ticker/24hr", match={"symbol": "BNBUSDT"})
        await desk.server.inject(no_price, count=1000)
        while (await book(desk, BTC)).buys + (await book(desk, BTC)).sells == before.buys + before.sells:
            await desk.server.advance(1)
            await tick(desk, BTC)
            await asyncio.sleep(60)
        pending = await book(desk, BTC)
        assert pending.unvalued
        assert pending.other_value == before.other_value
        amount = total(fee.amount for fee in pending.unvalued.values())
        assert pending.other_fees["BNB"] == before.other_fees["BNB"] + amount
        view = await read_status(desk.desk.settings, desk.desk.redis)
        assert view.unvalued_fees == {"BNB": amount}
        assert view.identity_error == 0
        assert {fee.worth for fee in await queued(desk)} == {None}
        await tick(desk, BTC)
        assert (await book(desk, BTC)).unvalued == pending.unvalued
        await desk.server.clear_faults()
        await tick(desk, BTC)
        valued = await book(desk, BTC)
        price = desk.server.binance.engine.last("BNBUSDT")  # type: ignore[attr-defined]
        assert valued.unvalued == {}
        assert valued.other_value == pending.other_value + amount * price
        assert valued.grid_profit == pending.grid_profit - amount * price
        await tick(desk, BTC)
        assert await book(desk, BTC) == valued, "once"
        assert None not in {fee.worth for fee in await queued(desk)}
        await settle(desk)
        await check_account(desk, STOCK)
        assert (await read_status(desk.desk.settings, desk.desk.redis)).unvalued_fees == {}

    play(work)


def test_a_write_off_values_and_pays_fees_first() -> None:
    """Neither a source that is delisted before its fees have a worth nor a delisted payer leaves a fee behind."""

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        await trade(desk, 3)
        await settle(desk)
        no_price = Fault(kind=FaultKind.DROP_BEFORE, path="ticker/24hr", match={"symbol": "BNBUSDT"})
        await desk.server.inject(no_price, count=1000)
        while not (await book(desk, BTC)).unvalued:
            await desk.server.advance(1)
            await tick(desk, BTC)
            await asyncio.sleep(60)
        before, amount = await book(desk, BNB), total(fee.amount for fee in await queued(desk))
        desk.desk.exchange = Delisted(desk.client, BNB)
        with pytest.raises(StateError, match="fees of BTC/USDT whose worth is not known yet"):
            await write_off(desk.desk, BNB, "operator")
        desk.desk.exchange = Delisted(desk.client, BTC)
        with pytest.raises(ExchangeUnavailable, match="no price of the fee coin BNB"):
            await write_off(desk.desk, BTC, "operator")
        await desk.server.clear_faults()
        await write_off(desk.desk, BTC, "operator")
        assert (await book(desk, BTC)).unvalued == {}
        assert None not in {fee.worth for fee in await queued(desk)}
        desk.desk.exchange = Delisted(desk.client, BNB)
        done = await write_off(desk.desk, BNB, "operator")
        after = await book(desk, BNB)
        assert await queued(desk) == []
        assert amount > 0
        assert after.fee_base == before.fee_base + amount
        assert (after.base, done.qty) == (ZERO, before.base - amount)
        assert (await book(desk, BTC)).other_value + (await book(desk, "ETH/USDT")).other_value == -after.other_value

    play(work)


def test_a_coin_without_a_market_is_worth_nothing() -> None:
    """Nothing stays pending for it."""

    only = {BTC: CANDLES[BTC]}
    own = settings_of_month().model_copy(update={"symbols": {BTC: settings_of_month().symbols[BTC]}})

    async def opened(world: VirtualWorld) -> None:
        desk = world.worker()
        engine = world.exchange.server.binance.engine
        engine._fee = lambda order, qty, price, maker: (Decimal("0.0001"), "BNB")  # type: ignore[method-assign]
        await desk.desk.allocator.rebalance_if_needed(reason="start")
        for _ in range(20):
            await tick(desk, BTC)
            await desk.server.advance(1)
            await asyncio.sleep(60)
        await tick(desk, BTC)
        found = await book(desk, BTC)
        assert found.other_fees["BNB"] > 0
        assert (found.unvalued, found.other_value) == ({}, ZERO)
        assert await queued(desk) == [], "nobody trades BNB"

    play_in_world(own, only, opened, Config(balances={"USDT": QUOTE, "BNB": Decimal(1)}))


def test_a_rebuild_has_the_same_base_cash_and_equity() -> None:
    """Redis is wiped. The rebuild may charge other cells, so grid profit and floating may be split otherwise."""

    async def work(world: VirtualWorld, desk: BinanceDesk) -> None:
        await trade(desk, 50)
        await settle(desk)
        before = await check_account(desk, STOCK)
        await desk.desk.redis.flushall()
        other = world.worker()
        await open_books(other.desk, await other.client.markets(SYMBOLS), "again")
        await settle(other)
        after = await check_account(other, STOCK)
        prices = {one: Decimal(price) for one, price in zip(SYMBOLS, ("43000", "2350", "312"), strict=True)}
        for symbol in SYMBOLS:
            assert after[symbol].cash == before[symbol].cash
            assert after[symbol].base == before[symbol].base
        equity = [
            total(value(books[symbol], prices[symbol]).equity_change for symbol in SYMBOLS) for books in (before, after)
        ]
        assert equity[0] == equity[1]
        await trade(other, 15)
        await settle(other)
        await check_account(other, STOCK)

    play(work)


@pytest.mark.parametrize("stock", ["0", "0.5"])
def test_a_month_of_real_prices(stock: str) -> None:
    """Candles of 15 minutes, three ticks a day; with BNB of one's own on the account and without.

    Base and quote in the books equal the account to the last digit: `play_month` compares them. In the end Redis is
    lost: the status is the same to the last digit, and nothing is asked of the exchange that the history holds.
    """
    candles: dict[str, list[Candle]] = {symbol: recorded_month(symbol) for symbol in SYMBOLS}
    figures = play_month(candles, 32, Decimal(stock), loses_redis=True)
    assert figures.books == figures.account
    assert figures.trades > 300
    assert Decimal(figures.bnb_from_cells) > Decimal("0.01")
    assert figures.bnb_from_own_stock == "0"
