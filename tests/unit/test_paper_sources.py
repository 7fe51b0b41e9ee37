"""The made-up market, the market's clock, derived filters and the lists of result codes."""

import re
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.paper.candles import merged
from tasks.paper.matching import PlaceCode
from tasks.paper.scripts import Code, source_of
from tasks.paper.stored_market import MarketClock
from tasks.paper.synthetic import DAY, SyntheticSeries
from tasks.paper.units import filters_for

START = 1_767_225_600_000


async def test_the_walk_is_the_same_wherever_one_begins() -> None:
    """Any stretch equals the same stretch of a longer one: processes that start later see the same market."""
    whole = await SyntheticSeries(7, "BTC/USDT", START).bars(-10, 3 * DAY)
    late = SyntheticSeries(7, "BTC/USDT", START)
    assert await late.bars(2 * DAY - 5, 2 * DAY + 5) == whole[2 * DAY + 5 : 2 * DAY + 15]
    assert await SyntheticSeries(8, "BTC/USDT", START).bars(0, 5) != whole[10:15]
    assert await SyntheticSeries(7, "ETH/USDT", START).bars(0, 5) != whole[10:15]


@pytest.mark.parametrize(
    ("symbol", "price"), [("BTC/USDT", 42_000), ("ETH/USDT", 2280), ("BNB/USDT", 312), ("X/U", 100)]
)
async def test_the_walk_is_a_market(symbol: str, price: int) -> None:
    """It starts at a sane price, each candle opens at the last close, low and high enclose both."""
    bars = await SyntheticSeries(7, symbol, START).bars(-DAY, 2 * DAY)
    assert (bars[DAY].open, bars[DAY].at) == (price * 10**8, START)
    for before, bar in pairwise(bars):
        assert bar.open == before.close
        assert bar.at == before.at + 60_000
    assert all(0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert max(bar.high for bar in bars) < 2 * min(bar.low for bar in bars)


@given(speed=st.decimals("0.01", 100_000, places=2), candle=st.integers(0, 10**6), position=st.integers(0, 10**9))
def test_a_candle_is_complete_when_the_next_begins(speed: Decimal, candle: int, position: int) -> None:
    """`complete` and `wall` are each other's inverse to the millisecond."""
    clock = MarketClock(1, START, min(position, candle * 60_000), speed)
    begins = clock.opens_at_ms(candle)
    assert clock.candles_complete(begins - 1) <= candle <= clock.candles_complete(begins + 1)


@pytest.mark.parametrize(
    ("symbol", "price", "tick", "lot"),
    [
        ("BTC/USDT", "42000", "0.01", "0.00001"),
        ("ETH/USDT", "2280", "0.01", "0.0001"),
        ("BNB/USDT", "312", "0.01", "0.001"),
        ("SOL/USDT", "100", "0.01", "0.001"),
        ("XRP/USDT", "0.5", "0.00001", "1"),
        ("PEPE/USDT", "0.0000012", "0.00000001", "100000"),
    ],
)
def test_filters_fit_the_price(symbol: str, price: str, tick: str, lot: str) -> None:
    """Known pairs have Binance's filters, others what fits their magnitude."""
    filters = filters_for(symbol, Decimal(price))
    assert (filters.tick, filters.lot) == (Decimal(tick), Decimal(lot))
    assert filters.min_qty * Decimal(price) < filters.min_notional < filters.max_qty * Decimal(price)
    assert filters.min_price <= Decimal(price) <= filters.max_price


async def test_longer_candles_are_made_of_minutes() -> None:
    """Open of the first, close of the last, extremes and sum of all."""
    bars = await SyntheticSeries(7, "BTC/USDT", START).bars(0, 10)
    rows = merged(bars, 5)
    assert [row[0] for row in rows] == [START, START + 300_000]
    assert rows[0][1:5] == [
        bars[0].open / 1e8,
        max(bar.high for bar in bars[:5]) / 1e8,
        min(bar.low for bar in bars[:5]) / 1e8,
        bars[4].close / 1e8,
    ]
    assert rows[0][5] == pytest.approx(sum(bar.volume for bar in bars[:5]))


@pytest.mark.parametrize(("script", "codes"), [("engine", Code), ("place", PlaceCode)])
def test_result_codes_stand_in_the_script_header(script: str, codes: type[Code] | type[PlaceCode]) -> None:
    """The IntEnum and the script say the same."""
    text = source_of(script)
    header = " ".join(line.lstrip("- ") for line in text.splitlines() if line.startswith("--"))
    answers = header[header.rindex("Answer:") :]
    listed = {int(number): name for number, name in re.findall(r"\b(\d) ([A-Z_]{2,})\b", answers)}
    assert listed == {int(code): code.name for code in codes}
