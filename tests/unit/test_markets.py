"""When a process reads its markets again: every hour, after a refused filter, and never twice within a minute."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from tasks.base.errors import ExchangeUnavailable, RejectReason
from tasks.exchange.models import Market, Placement, Rejected, Unknown
from tasks.exchange.port import ExchangePort
from tasks.tick.markets import MAX_AGE_MS, MIN_PAUSE_MS, Markets, filter_refused
from tests.support.grids import BTC, market

ETH = "ETH/USDT"


class Exchange:
    """Lists what it is given, and counts how often it is asked."""

    def __init__(self, *listed: Market) -> None:
        self.listed = {one.symbol: one for one in listed}
        self.asked = 0
        self.down = False

    async def refreshed_markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """See ExchangePort."""
        self.asked += 1
        if self.down:
            raise ExchangeUnavailable("no answer")
        return {symbol: self.listed[symbol] for symbol in symbols if symbol in self.listed}


async def latest(markets: Markets, exchange: Exchange, now_ms: int, **changes: Any) -> Market:
    """The newest market of BTC."""
    return await markets.latest(cast(ExchangePort, exchange), market(**changes), now_ms)


async def test_read_again_every_hour() -> None:
    """Not before; what changed is there at once."""
    markets, exchange = Markets(), Exchange(market(tick_size="1"))
    assert (await latest(markets, exchange, 0)).tick_size == Decimal("0.01")
    await latest(markets, exchange, MAX_AGE_MS - 1)
    assert exchange.asked == 0
    assert (await latest(markets, exchange, MAX_AGE_MS)).tick_size == 1
    await latest(markets, exchange, MAX_AGE_MS + MIN_PAUSE_MS)
    assert exchange.asked == 1


async def test_read_again_after_a_refusal_at_most_once_a_minute() -> None:
    """A refusal that has another cause leads to one reading a minute, not to one a tick."""
    markets, exchange = Markets(), Exchange(market())
    for second in range(120):
        markets.read_soon()
        await latest(markets, exchange, second * 1000)
    assert exchange.asked == 2


async def test_a_reading_that_fails_changes_nothing_and_is_tried_again() -> None:
    """A minute later. The tick goes on with the market that is known."""
    markets, exchange = Markets(), Exchange(market(tick_size="1"))
    exchange.down = True
    markets.read_soon()
    assert (await latest(markets, exchange, 0)).tick_size == Decimal("0.01")
    exchange.down = False
    await latest(markets, exchange, MIN_PAUSE_MS - 1)
    assert exchange.asked == 1
    assert (await latest(markets, exchange, MIN_PAUSE_MS)).tick_size == 1


async def test_a_symbol_that_is_no_longer_listed_keeps_its_market() -> None:
    """Its orders are still read and cancelled by it; the others get their new ones."""
    markets, exchange = Markets(), Exchange(market(symbol=ETH, tick_size="1"))
    markets.add({BTC: market(), ETH: market(symbol=ETH)})
    markets.read_soon()
    assert await latest(markets, exchange, 0) == market()
    assert markets.known[ETH].tick_size == 1


def test_what_counts_as_a_refusal_by_a_filter() -> None:
    """A clear one; nothing else."""
    refused = Rejected(client_id="a", reason=RejectReason.FILTER, detail="LOT_SIZE")
    others: list[Placement] = [
        Unknown(client_id="b", detail=""),
        Rejected(client_id="c", reason=RejectReason.WOULD_TAKE, detail=""),
    ]
    assert filter_refused([*others, refused])
    assert not filter_refused(others)


def test_the_first_plan_of_a_process_counts_as_a_change() -> None:
    """Another process may have been refused by filters that have changed since, long before its cells' wait is over."""
    markets, fine = Markets(), market()
    assert markets.is_changed(fine)
    markets.planned(fine)
    assert not markets.is_changed(fine)
    assert markets.is_changed(market(tick_size="1"))
