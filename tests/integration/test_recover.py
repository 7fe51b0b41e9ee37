"""Redis wiped: everything is rebuilt from the exchange's orders and trades plus the configuration."""

import asyncio
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.base.errors import StateError
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.models import Order, OrderStatus, Side
from tasks.exchange.order_ids import own_order_id, parse_order_id
from tasks.grid.levels import grid_id, old_grid_id
from tasks.ledger.models import Book
from tasks.settings.model import Settings
from tasks.tick.rebuild import own_orders
from tasks.tick.recover import open_books
from tasks.tick.trading_mode import claim_books, stored_mode
from tests.support.binance.desk import join_binance_desk, open_binance_desk
from tests.support.books import check_books, settle
from tests.support.desk import BTC, TestDesk, open_desk, settings, walk
from tests.support.grids import symbol_settings
from tests.support.mortal import Killed, Mortal

KEYS = Keys("main")
ARITHMETIC = {"lower": "39000", "upper": "45000", "cells": 30, "quote_per_cell": "100", "start": "flat"}


async def wipe(redis: RedisClient) -> None:
    """Delete all that is Gridflow's; the paper exchange plays the exchange and remembers."""
    async for key in redis.scan_iter("gridflow:*"):
        if not str(key).startswith(KEYS.paper()):
            await redis.delete(key)


def normal(value: Any) -> Any:
    """Amounts in one spelling: 42000.0 and 42000 are the same."""
    if isinstance(value, dict):
        return {name: normal(one) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one) for one in value]
    try:
        return plain(Decimal(value)) if isinstance(value, str) else value
    except InvalidOperation:
        return value


async def state_of(redis: RedisClient) -> dict[str, Any]:
    """Books, cells, journal and money, without what may differ (times of journalling, the order of equal times)."""
    cells = {key: json.loads(text) for key, text in (await redis.hgetall(KEYS.cells(BTC))).items()}
    for cell in cells.values():
        cell.pop("retry_ms")
    intents = {key: json.loads(text) for key, text in (await redis.hgetall(KEYS.intents(BTC))).items()}
    kept = ("cell_key", "side", "price", "qty", "cycle", "units", "units_left", "exchange_id", "filled")
    book = json.loads(await redis.get(KEYS.book(BTC)) or "{}")
    grid = json.loads(await redis.get(KEYS.grid(BTC)) or "{}")
    for record in (book, grid):
        record.pop("opened_ms", None)
        record.pop("created_ms", None)
    found: dict[str, Any] = normal(
        {
            "cells": cells,
            "intents": {key: {name: intent[name] for name in kept} for key, intent in intents.items()},
            "book": book,
            "grid": grid,
            "reservations": await redis.hgetall(KEYS.reservations(BTC)),
            "share": await redis.hmget(KEYS.funds_symbol(BTC), ["used", "reserved"]),
            "pot": await redis.hmget(KEYS.funds, ["used", "reserved", "pool"]),
        }
    )
    return found


async def trade(desk: TestDesk, redis: RedisClient, steps: int) -> None:
    """Tick over the candles, then book all that is left."""
    trader = await desk.trader()
    for _ in range(steps):
        await trader.tick()
        await desk.exchange.advance(1)
    await settle(trader, redis, ticks=2)
    await trader.end_lease()


@pytest.mark.parametrize(
    "own",
    [settings(), settings(symbols={BTC: ARITHMETIC}), settings(paper={"fee_currency": "base"})],
    ids=["balanced, range_pct", "flat, prices", "fees in base"],
)
async def test_the_books_after_recovery_are_those_before(redis: RedisClient, own: Settings) -> None:
    """Cells, journal, reservations, ledger and pot: equal. And trading goes on with ids never used before."""
    desk = await open_desk(redis, own, {BTC: walk(500, step_bp=25)})
    await trade(desk, redis, 150)
    before = await state_of(redis)
    assert len(before["intents"]) > 3
    assert before["book"]["sells"] > 3
    await wipe(redis)
    again = await open_desk(redis, own)
    trader = await again.trader()
    report = await trader.tick()
    assert report.placed == 0
    after = await state_of(redis)
    if (
        not own.symbols[BTC].each_grid[""].is_relative
    ):  # between fixed prices the first price is neither known nor needed
        assert before["grid"].pop("first_price")
        assert after["grid"].pop("first_price")
    assert after == before
    await trader.end_lease()
    await trade(again, redis, 150)
    await check_books(again, redis)
    await desk.close()
    await again.close()


async def test_an_exchange_that_knows_nothing_of_us_starts_fresh(redis: RedisClient) -> None:
    """Orders of others are not ours to rebuild from, nor to touch."""
    desk = await open_desk(redis, settings(), {BTC: walk(50)})
    await desk.exchange.create_order(BTC, "limit", "buy", 0.001, 41000, {"clientOrderId": "mine-by-hand"})
    trader = await desk.trader()
    await trader.tick()
    ids = {order.client_id for order in await desk.client.open_orders(BTC)}
    assert "mine-by-hand" in ids
    assert len(ids) > 5
    await desk.close()


async def test_killed_in_the_middle_of_recovery(redis: RedisClient) -> None:
    """At every wait of a recovery: it is done again from the start, and the books are those before."""
    desk = await open_desk(redis, settings(), {BTC: walk(300, step_bp=25)})
    await trade(desk, redis, 60)
    before = await state_of(redis)
    markets = await desk.client.markets([BTC])
    for life in range(1, 100):
        await wipe(redis)
        dying = Mortal(open_books(desk.desk, markets, f"w{life}"), life, Killed)
        try:
            await dying
            break  # it lived: every wait has been tried
        except Killed:
            await redis.delete(KEYS.lease(BTC))
        await open_books(desk.desk, markets, "next")
        trader = await desk.trader(owner="next")
        await trader.tick()
        await trader.end_lease()
        assert await state_of(redis) == before, f"after a kill at wait {life}"
    assert life > 8
    await desk.close()


async def test_redis_lost_and_the_grid_changed(redis: RedisClient) -> None:
    """The exchange knows an earlier grid only: its buys are cancelled, its lots sold, its money counted."""
    desk = await open_desk(redis, settings(), {BTC: walk(300)})
    await trade(desk, redis, 30)
    await wipe(redis)
    other = settings(symbols={BTC: {"lower": "38000", "upper": "41500", "cells": 8, "quote_per_cell": "50"}})
    changed = await open_desk(redis, other)
    trader = await changed.trader()
    await settle(trader, redis, ticks=3)
    await check_books(changed, redis)
    cells = [json.loads(text) for text in await redis.hvals(KEYS.cells(BTC))]
    old = [cell for cell in cells if Decimal(cell["sell_price"]) > Decimal(41500)]
    assert old
    assert all(cell["state"] == "SELLING" for cell in old)
    await desk.close()
    await changed.close()


async def test_paper_and_live_never_share_books(redis: RedisClient) -> None:
    """Books of one kind refuse the other, before anything is touched."""
    paper = settings()
    live = settings(exchange={"id": "binance", "live": True, "api_key": "k", "secret": "s"}, live=True)
    await claim_books(redis, KEYS, paper)
    with pytest.raises(StateError, match="holds the books of 'paper'"):
        await claim_books(redis, KEYS, live)
    await claim_books(redis, KEYS, paper)
    assert await stored_mode(redis, KEYS) == "paper"


def test_names() -> None:
    """Our ids, and nobody else's."""
    name = parse_order_id("gf3fa-9c01b-17-s-42")
    assert name is not None
    assert (name.account, name.cell_key, name.side.value, name.cycle) == ("3fa", "9c01b.17", "sell", 42)
    below = parse_order_id("gf3fa-9c01b-n3-x-0")
    assert below is not None
    assert (below.level, below.purpose, below.side.value, str(below)) == (-3, "exit", "sell", "gf3fa-9c01b-n3-x-0")
    assert parse_order_id("x-TKT5PX2F-1") is None
    assert parse_order_id("g0123abcd-17-s-42") is None
    old = own_order_id("g0123abcd-17-s-42", "main", {"g0123abcd": "9c01b"})
    assert old is not None
    assert (old.cell_key, old.cycle) == ("9c01b.17", 42)
    assert own_order_id("g0123abcd-17-s-42", "main") is None


def test_the_command(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`gridflow recover` on a live Redis touches nothing; after a wipe it rebuilds; twice does no harm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    monkeypatch.setenv("GRIDFLOW_SYMBOLS", json.dumps({BTC: {"range_pct": "0.04", "start": "balanced"}}))

    async def begin() -> None:
        redis = connect(redis_url)
        own = settings(symbols={BTC: {"range_pct": "0.04", "start": "balanced"}})
        desk = await open_desk(redis, own, {BTC: walk(60)})
        await trade(desk, redis, 20)
        await desk.close()
        await wipe(redis)
        await redis.aclose()

    asyncio.run(begin())
    runner = CliRunner()
    done = runner.invoke(cli, ["recover", "--json"])
    assert json.loads(done.stdout.strip().splitlines()[-1]) == {"rebuilt": {BTC: True}}
    again = runner.invoke(cli, ["recover"])
    assert "nothing to recover" in again.output


async def test_two_pots_on_one_exchange_account_rebuild_their_own(redis: RedisClient) -> None:
    """The same grid under two account names: each rebuilds from its own orders, and books no trade of the other's."""
    first_own = settings(account="first", symbols={BTC: ARITHMETIC})
    second_own = settings(account="second", symbols={BTC: ARITHMETIC})
    async with open_binance_desk(redis, first_own, {BTC: walk(200, step_bp=25)}) as first:
        second = await join_binance_desk(redis, second_own, first.server)
        for _ in range(30):
            for desk in (first, second):
                trader = await desk.trader()
                await trader.tick()
                await trader.end_lease()
            await first.server.advance(3)
        for desk in (first, second):
            trader = await desk.trader()
            await settle(trader, redis, ticks=2)
            await trader.end_lease()
        before = {own.account: await books_of(redis, Keys(own.account)) for own in (first_own, second_own)}
        assert before["first"].sells > 1
        keys = Keys("second")
        for key in [key async for key in redis.scan_iter(f"{keys.prefix}:*")]:
            await redis.delete(key)
        again = await join_binance_desk(redis, second_own, first.server)
        await (await again.trader()).tick()
        rebuilt = await books_of(redis, keys)
        assert (rebuilt.base, rebuilt.cash, rebuilt.buys, rebuilt.sells) == (
            before["second"].base,
            before["second"].cash,
            before["second"].buys,
            before["second"].sells,
        )
        assert await books_of(redis, Keys("first")) == before["first"]
        await second.close()
        await again.close()


async def books_of(redis: RedisClient, keys: Keys) -> Book:
    """The symbol's ledger."""
    return Book.model_validate_json(await redis.get(keys.book(BTC)) or "")


def test_ids_without_a_tag_count_only_for_a_sole_account() -> None:
    """Orders of the earlier form are left out of a rebuild, unless this pot alone trades on the exchange account."""
    symbol = symbol_settings(**ARITHMETIC)
    old_name, new_name = old_grid_id(BTC, symbol), grid_id(BTC, symbol)
    order = Order(
        exchange_id="1",
        client_id=f"{old_name}-3-b-5",
        symbol=BTC,
        side=Side.BUY,
        price=Decimal(40_000),
        qty=Decimal("0.01"),
        filled=Decimal(0),
        status=OrderStatus.OPEN,
        at_ms=1,
    )
    assert own_orders([order], "main") == {}
    ((said, _),) = own_orders([order], "main", {old_name: new_name}).values()
    assert (said.cell_key, said.cycle) == (f"{new_name}.3", 5)
