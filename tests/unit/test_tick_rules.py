"""Rules of a tick that need no server: waits after refusals, books that may not be rebuilt yet, clocks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tasks.base.errors import ExchangeUnavailable, RejectReason, StateError
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.exchange.order_ids import account_tag
from tasks.grid.models import Cell
from tasks.ledger.models import Book
from tasks.ledger.rules import value
from tasks.tick.clock_check import check_clock
from tasks.tick.fold import Folded
from tasks.tick.limits import without_filter_refusals
from tasks.tick.order_requests import MAX_WAIT_MS, wait_after
from tasks.tick.rebuild import rebuild
from tests.support.grids import symbol_settings

BTC = "BTC/USDT"


def test_changed_filters_free_every_cell_that_the_old_ones_refused() -> None:
    """Also those that get no order at this tick: they would wait on for filters that are gone."""
    base = {"grid_id": "g", "buy_price": 1, "sell_price": 2, "retry_ms": 99, "refusals": 3}
    refused = Cell.model_validate(base | {"key": "g.0", "index": 0, "refusal": RejectReason.FILTER})
    other = Cell.model_validate(base | {"key": "g.1", "index": 1, "refusal": RejectReason.OTHER})
    folded = Folded(Book(symbol="BTC/USDT"), {"g.0": refused, "g.1": other}, {})
    (written,) = without_filter_refusals(folded, Keys("main"))
    assert (written.field, Cell.model_validate_json(written.text)) == ("g.0", folded.cells["g.0"])
    assert (folded.cells["g.0"].retry_ms, folded.cells["g.0"].refusal) == (0, None)
    assert folded.cells["g.1"] is other


def test_refusals_in_a_row_wait_longer_each_time() -> None:
    """What says nothing against the order is tried again at once, but not for ever; nothing waits over ten minutes.

    A post-only buy that the price did not allow waits half a minute at most: a grid is whole again soon after.
    """
    waits = [wait_after(RejectReason.WOULD_TAKE, before, Side.BUY) for before in range(14)]
    assert waits[:4] == [0, 0, 2_000, 4_000]
    assert waits == sorted(waits)
    assert waits[-1] == 30_000
    assert wait_after(RejectReason.EXPIRED_REQUEST, 13, Side.BUY) == MAX_WAIT_MS
    assert [wait_after(RejectReason.FILTER, before, Side.SELL) for before in (0, 1, 2, 9)] == [
        30_000,
        30_000,
        60_000,
        MAX_WAIT_MS,
    ]


SETTINGS = symbol_settings(lower="39000", upper="48000", cells=9, quote_per_cell="400")
MARKET = Market(
    symbol=BTC,
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.00001"),
    maker_fee=Decimal(0),
    taker_fee=Decimal(0),
)


def trade(number: str, qty: str, exchange_id: str = "7", side: Side = Side.BUY) -> Trade:
    """A fill of an order below."""
    return Trade(
        trade_id=number,
        exchange_id=exchange_id,
        symbol=BTC,
        side=side,
        price=Decimal(40_000),
        qty=Decimal(qty),
        fee=Decimal(0),
        fee_currency="USDT",
        maker=True,
        at_ms=2_000,
    )


def order(exchange_id: str, slot: str, qty: str, side: Side = Side.BUY) -> Order:
    """An order of ours that has filled. `slot`: level, purpose and cycle."""
    return Order(
        exchange_id=exchange_id,
        client_id=f"gf{account_tag('main')}-0a1b2-{slot}",
        symbol=BTC,
        side=side,
        price=Decimal(40_000),
        qty=Decimal(qty),
        filled=Decimal(qty),
        status=OrderStatus.FILLED,
        at_ms=1_000,
    )


def test_a_rebuild_takes_what_a_sell_sold_beyond_its_cell_from_the_others() -> None:
    """Remainders were moved into the cell, or somebody enlarged the order. The other cell is replayed after it."""
    orders = [order("7", "1-b-0", "0.01"), order("8", "1-s-0", "0.012", Side.SELL), order("9", "2-b-0", "0.02")]
    trades = [trade("1", "0.01"), trade("2", "0.012", "8", Side.SELL), trade("3", "0.02", "9")]
    found = rebuild(BTC, None, MARKET, orders, trades, Decimal(9500), {}, "main")
    assert found is not None
    assert found.grid is not None
    assert {key: cell.qty for key, cell in found.cells.items()} == {"0a1b2.2": Decimal("0.018")}
    assert found.book.base == Decimal("0.018")
    assert found.book.basis == sum(cell.basis for cell in found.cells.values()) == Decimal(720)
    assert found.fills[-1].filled_basis == found.book.filled_basis == found.book.basis
    assert value(found.book, Decimal(1)).identity_error == 0


def test_a_rebuild_keeps_one_number_of_the_cells_that_have_gone() -> None:
    """A grid that comes back starts above it."""
    orders = [order("7", "1-b-0", "0.01"), order("8", "1-s-0", "0.01", Side.SELL), order("9", "2-b-3", "0.02")]
    trades = [trade("1", "0.01"), trade("2", "0.01", "8", Side.SELL), trade("3", "0.02", "9")]
    found = rebuild(BTC, SETTINGS, MARKET, orders, trades, Decimal(9500), {}, "main")
    assert found is not None
    assert found.slots == {"0a1b2": 0, "0a1b2.2:buy": 3}


def test_books_are_not_rebuilt_from_half_the_trades() -> None:
    """An order that has filled more than the listed trades show: read again, rather than lose a fill."""
    filled = order("7", "1-b-0", "0.01")
    with pytest.raises(ExchangeUnavailable, match=r"order 7 add up to 0\.004 of 0\.01"):
        rebuild(BTC, SETTINGS, MARKET, [filled], [trade("1", "0.004")], Decimal(9500), {}, "main")
    whole = rebuild(
        BTC, SETTINGS, MARKET, [filled], [trade("1", "0.004"), trade("2", "0.006")], Decimal(9500), {}, "main"
    )
    assert whole is not None
    assert whole.book.base == Decimal("0.01")


@pytest.mark.parametrize("seconds", [-3, 3])
async def test_a_clock_that_is_off_stops_trading(redis: RedisClient, seconds: int) -> None:
    """Ahead or behind, by more than two seconds."""
    await check_clock(redis)
    with pytest.raises(StateError, match=r"clock is \d\.\d s off"):
        await check_clock(redis, lambda: datetime.now(UTC) + timedelta(seconds=seconds))
