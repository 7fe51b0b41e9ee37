"""Ticking until the journal is settled, and comparing the books with the exchange's own record."""

import asyncio
from decimal import Decimal

from tasks.base.money import units_up
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Trade
from tasks.tick.trader import GridTrader, LeaseHeld
from tests.support.desk import BTC, TestDesk
from tests.support.waiting import BUSY

STEPS = ("begun", "read", "evidence", "recorded", "cancelled", "reserved", "sent", "finished")


async def settle(trader: GridTrader, redis: RedisClient, ticks: int = 3) -> None:
    """Tick until the journal holds no doubtful order: past the dead worker's lease and the protection window.

    Once more then, because an entry that is planned anew fills at once, and the next tick books it.
    """
    done = settled = 0
    for _ in range(BUSY * 200):
        try:
            await trader.tick()
            done += 1
        except LeaseHeld:
            await asyncio.sleep(0.05)
            continue
        entries = await redis.hvals(trader.desk.keys.intents(BTC))
        doubtful = any('"state":"INTENT"' in text or '"state":"UNKNOWN"' in text for text in entries)
        settled = 0 if doubtful else settled + 1
        if done >= ticks and settled >= min(ticks, 2):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the journal never settled")


async def check_books(desk: TestDesk, redis: RedisClient) -> None:
    """The exchange's own record and ours agree, and the pot holds exactly what the journal and inventory explain."""
    raw = await desk.exchange.fetch_orders(BTC, None, 1000)
    ids = [order["clientOrderId"] for order in raw]
    assert len(ids) == len(set(ids)), "an order was sent twice"
    keys = desk.desk.keys
    traded: list[Trade] = await desk.client.trades(BTC, 0)
    assert await redis.zcard(keys.seen(BTC)) == len(traded), "a fill is missing or was booked twice"
    state = await desk.desk.allocator.get_global_status_summary()
    held = [int(units) for units in await redis.hvals(keys.reservations(BTC))]
    assert state.reserved_units == sum(held), "leaked reservation"
    assert set(await redis.hkeys(keys.reservations(BTC))) == set(await redis.hkeys(keys.intents(BTC)))
    from tasks.grid.models import Cell
    from tasks.ledger.models import Book

    cells = [Cell.model_validate_json(text) for text in await redis.hvals(keys.cells(BTC))]
    assert state.used_units == sum(units_up(cell.basis) for cell in cells)
    assert state.committed_units <= state.pool_units
    book = Book.model_validate_json(await redis.get(keys.book(BTC)) or "")
    assert sum(cell.qty for cell in cells) == book.base, "the cells hold other base than the book"
    balances = await desk.client.balances()
    assert balances["USDT"].free + balances["USDT"].locked == Decimal(10_000) + book.cash
    assert balances["BTC"].free + balances["BTC"].locked == book.base
    resting = {order.client_id for order in await desk.client.open_orders(BTC)}
    assert resting == set(await redis.hkeys(keys.intents(BTC)))
