"""One pot, two symbols: what is granted, what is refused, and how money comes back."""

from decimal import Decimal

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FillMove, FundCode, Reservation
from tasks.settings.model import AllocationStrategy

UNITS = 10**8  # one quote unit in Redis


async def open_pot(redis: RedisClient) -> GlobalFundAllocator:
    """1000 quote, 90 % of it usable, shared equally: 450 each."""
    pot = GlobalFundAllocator(redis, Keys("main"), Decimal(1000), Decimal("0.9"), AllocationStrategy.EQUAL)
    for symbol in ("BTC/USDT", "ETH/USDT"):
        pot.register_trader(symbol, weight=Decimal(1), max_usage_pct=Decimal(1))
    await pot.rebalance_if_needed(reason="start")
    return pot


def order(number: int, quote: int) -> Reservation:
    """A buy of `quote`, with the records that are written when it is granted."""
    return Reservation(
        id=f"buy-{number}", slot="cell-0:buy", sequence=number, units=quote * UNITS,
        intent="the journal entry", cell_key="cell-0", cell="the cell record",
    )  # fmt: skip


async def test_a_symbol_spends_its_share_and_no_more(redis: RedisClient) -> None:
    """Of two buys of 300 out of 450, one is granted. The other symbol is not touched by that."""
    pot = await open_pot(redis)
    first, second = await pot.reserve("BTC/USDT", fence=0, items=[order(1, 300), order(2, 300)])
    assert (first.code, second.code) == (FundCode.OK, FundCode.SYMBOL_LIMIT)
    assert await pot.check_trade_allowed("ETH/USDT", "buy", Decimal(450)) == (True, "OK")


async def test_money_moves_from_reserved_to_used_and_back(redis: RedisClient) -> None:
    """A fill turns reserved into used; what it did not need returns; a sale frees what the lot had cost."""
    pot = await open_pot(redis)
    await pot.reserve("BTC/USDT", fence=0, items=[order(1, 300)])
    bought = FillMove(
        trade_id="t1", at_ms=1, reservation_id="buy-1", take_units=300 * UNITS, used_delta=299 * UNITS
    )  # it cost 299
    await pot.record_trade("BTC/USDT", fence=0, fills=[bought], ended=["buy-1"])
    share = await pot.get_allocation_status("BTC/USDT")
    assert (share.used_units, share.reserved_units) == (299 * UNITS, 0)

    sold = FillMove(trade_id="t2", at_ms=2, reservation_id="", used_delta=-299 * UNITS)
    assert await pot.record_trade("BTC/USDT", fence=0, fills=[sold]) is FundCode.OK
    assert await pot.record_trade("BTC/USDT", fence=0, fills=[sold]) is FundCode.ALREADY  # a repeat changes nothing
    assert (await pot.get_allocation_status("BTC/USDT")).committed_units == 0


async def test_a_worker_whose_lease_has_passed_on_is_refused(redis: RedisClient) -> None:
    """A newer lease means a higher fence; the old holder gets nothing."""
    pot = await open_pot(redis)
    await redis.incr(Keys("main").fence("BTC/USDT"))
    (answer,) = await pot.reserve("BTC/USDT", fence=0, items=[order(1, 10)])
    assert answer.code is FundCode.STALE_FENCE
    assert answer.grant is None
