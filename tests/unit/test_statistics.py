"""Statistics against hand calculations, closed forms, and a naive version."""

import itertools
import statistics as naive
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isclose, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.clock import DAY_MS
from tasks.base.money import ZERO
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, bucket_of, buckets, zone_of
from tasks.ledger.rounds import Lot, lots_as_json, lots_from_json, rounds_of
from tasks.ledger.statistics import (
    CurvePoint,
    Tally,
    apr,
    buy_and_hold,
    daily_returns,
    max_drawdown,
    profit_factor,
    sharpe,
    sortino,
    statistics,
    tally_of_fill,
    tally_of_round,
    total_of,
)

D = Decimal


def fill(number: int, side: str, qty: str, price: str, *, at_ms: int, order: str = "", profit: str = "0") -> Fill:
    """One fill without a fee."""
    quote = D(price) * D(qty)
    return Fill(
        trade_id=f"{number:04}",
        client_id=order or f"{side}{number}",
        symbol="BTC/USDT",
        cell_key="g.1",
        side=Side(side),
        price=D(price),
        qty=D(qty),
        quote=quote,
        fee=D("0.1"),
        fee_currency="USDT",
        fee_quote=D("0.1"),
        maker=True,
        at_ms=at_ms,
        basis=quote - D(profit),
        profit=D(profit),
    )


def curve(*equities: str, capital: str = "1000") -> list[CurvePoint]:
    """One point at noon of each day."""
    return [
        CurvePoint(at_ms=day * DAY_MS + DAY_MS // 2, equity=D(equity), capital=D(capital))
        for day, equity in enumerate(equities)
    ]


FILLS = [
    fill(1, "buy", "1", "100", at_ms=0),
    fill(2, "sell", "1", "110", at_ms=60_000, profit="9.8"),
    fill(3, "buy", "2", "100", at_ms=100_000),
    fill(4, "sell", "1", "95", at_ms=200_000, order="s", profit="-5.2"),
    fill(5, "sell", "1", "95", at_ms=400_000, order="s", profit="-5.2"),
]


def test_a_small_example_by_hand() -> None:
    """Two rounds: 9.8 won after a minute; 10.4 lost, half held 100 s and half 300 s."""
    won, lost = rounds_of(FILLS)
    assert (won.profit, won.held_ms, won.qty, won.sell_price) == (D("9.8"), 60_000, D(1), D(110))
    assert (lost.profit, lost.held_ms, lost.qty, lost.opened_ms, lost.closed_ms) == (
        D("-10.4"),
        200_000,
        D(2),
        100_000,
        400_000,
    )
    tally = total_of([*map(tally_of_fill, FILLS), *map(tally_of_round, (won, lost))])
    found = statistics(tally, curve("1000", "1010", "999.4"), 0, 3 * DAY_MS, capital=D(1000))
    assert (found.trades, found.buys, found.sells, found.rounds) == (5, 2, 3, 2)
    assert (found.win_rate, found.average_held_ms) == (D("0.5"), 130_000)
    assert found.profit_factor == D("9.8") / D("10.4")
    assert (found.volume, found.fees, found.grid_profit) == (D(600), D("0.5"), D("-0.6"))
    assert (found.total_pnl, found.floating) == (D("-0.6"), D(0))
    assert found.grid_apr == D("-0.6") / 1000 * 365 / 3
    assert found.drawdown.model_dump() == {
        "share": D("10.6") / 1010,
        "quote": D("10.6"),
        "peak_ms": DAY_MS * 3 // 2,
        "trough_ms": DAY_MS * 5 // 2,
    }


def test_grid_and_total_apr_are_never_mixed() -> None:
    """A grid that earned 10 while the price fell by 30: 36.5 % and −73 % a year on 1000 in 10 days."""
    found = statistics(Tally(profit=D(10)), curve("1000", "980"), 0, 10 * DAY_MS, capital=D(1000))
    assert (found.grid_apr, found.total_apr, found.floating) == (D("0.365"), D("-0.73"), D(-30))


def test_what_is_not_defined_is_none() -> None:
    """No trade and no point: no ratio is made up."""
    found = statistics(Tally(), [], 5, 5, capital=D(1000))
    names = ("win_rate", "profit_factor", "average_held_ms", "total_pnl", "floating", "grid_apr", "total_apr")
    assert {getattr(found, name) for name in (*names, "sharpe", "sortino", "buy_and_hold")} == {None}
    assert sharpe([D(1), D(1)]) is None
    assert sortino([D(1), D(2)]) is None
    assert profit_factor(Tally(won=D(5))) is None
    assert apr(D(1), ZERO, 5) is None


def test_sharpe_and_sortino_in_closed_form() -> None:
    """Returns a+b and a−b in turn: the mean is a, the deviation b·√(n/(n−1)), the downside (b−a)/√2."""
    a, b, n = D("0.001"), D("0.004"), 10
    returns = [a + b, a - b] * (n // 2)
    assert isclose(sharpe(returns) or 0, float(a / b) * sqrt((n - 1) / n) * sqrt(365), rel_tol=1e-12)
    assert isclose(sortino(returns) or 0, float(a / (b - a)) * sqrt(2) * sqrt(365), rel_tol=1e-12)


def test_buy_and_hold_spreads_the_capital_evenly() -> None:
    """Half up by 10 %, half down by 20 %; a symbol without both prices is left out."""
    first, last = {"A": D(100), "B": D(50), "C": D(1)}, {"A": D(110), "B": D(40), "D": D(1)}
    assert buy_and_hold(D(1000), first, last) == -50
    assert buy_and_hold(D(1000), {}, last) is None


def test_a_deposit_is_no_profit_and_a_withdrawal_no_drawdown() -> None:
    """1000 become 1010, then 500 are paid in; then 400 are taken out and 11.1 lost."""
    points = [
        CurvePoint(at_ms=DAY_MS * day, equity=D(equity), capital=D(capital))
        for day, (equity, capital) in enumerate([("1000", 1000), ("1010", 1000), ("1510", 1500), ("1098.9", 1100)])
    ]
    assert daily_returns(points) == [D("0.01"), 0, (D("1098.9") - 1510 + 400) / 1510]
    assert max_drawdown(points).quote == D("11.1")
    assert statistics(Tally(), points, 0, 1, capital=D(1000)).total_pnl == D("-1.1")


def test_a_day_without_points_keeps_the_value_before() -> None:
    """Three days later it is worth 10 % more: returns 0, 0, 0.1."""
    first, last = curve("100")[0], curve("110")[0]
    later = last._replace(at_ms=last.at_ms + 3 * DAY_MS)
    assert daily_returns([first, later]) == [0, 0, D("0.1")]


EQUITIES = st.lists(st.decimals("1", 100_000, places=2), min_size=1, max_size=40)


@given(EQUITIES)
def test_ratios_equal_the_naive_version(equities: Sequence[Decimal]) -> None:
    """By the statistics module, in floats."""
    found = daily_returns(curve(*map(str, equities)))
    plain = [float(after) / float(before) - 1 for before, after in itertools.pairwise(equities)]
    assert [float(one) for one in found] == pytest.approx(plain)
    deviation = naive.stdev(plain) if len(plain) > 1 else 0
    if deviation > 1e-9:
        assert float(sharpe(found) or 0) == pytest.approx(naive.mean(plain) / deviation * sqrt(365), rel=1e-6)
    losses = naive.mean([min(one, 0) ** 2 for one in plain]) if len(plain) > 1 else 0
    if losses > 1e-12:
        assert float(sortino(found) or 0) == pytest.approx(naive.mean(plain) / sqrt(losses) * sqrt(365), rel=1e-6)


@given(EQUITIES)
def test_drawdown_equals_the_naive_version(equities: Sequence[Decimal]) -> None:
    """Every pair of an earlier and a later point."""
    points = curve(*map(str, equities))
    pairs = [(a, b) for place, a in enumerate(points) for b in points[place:]]
    assert max_drawdown(points).share == max((a.equity - b.equity) / a.equity for a, b in pairs)


STEP = st.tuples(st.booleans(), st.decimals("0.01", 5, places=2), st.integers(0, 3))


@given(st.lists(STEP, max_size=40))
def test_rounds_equal_the_naive_version(steps: list[tuple[bool, Decimal, int]]) -> None:
    """Each unit of 0.01 base is matched on its own; a sell never takes more than is held."""
    fills: list[Fill] = []
    held: list[int] = []
    waited: dict[str, list[int]] = {}
    for number, (is_buy, qty, order) in enumerate(steps):
        qty = qty if is_buy else min(qty, D(len(held)) / 100)
        if not qty:
            continue
        units, at_ms = int(qty * 100), number * 1000
        if is_buy:
            held += [at_ms] * units
        else:
            waited.setdefault(f"s{order}", []).extend(at_ms - one for one in held[:units])
            del held[:units]
        fills.append(fill(number, "buy" if is_buy else "sell", str(qty), "10", at_ms=at_ms, order=f"s{order}"))
    rounds = {one.sell_id: one for one in rounds_of(fills)}
    assert rounds.keys() == waited.keys()
    for name, times in waited.items():
        assert rounds[name].qty == D(len(times)) / 100
        assert rounds[name].held_ms == pytest.approx(naive.mean(times), abs=len(steps))


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(0, 20))
def test_totals_add_up(profits: list[int], cut: int) -> None:
    """A month is the sum of its days, and what is taken out again leaves nothing."""
    tallies = [
        tally_of_fill(fill(number, "sell", "1", "1", at_ms=0, profit=str(one))) for number, one in enumerate(profits)
    ]
    assert total_of(tallies) == total_of(tallies[:cut]) + total_of(tallies[cut:])
    assert total_of(tallies) + -total_of(tallies) == Tally()


def test_lots_read_back() -> None:
    """As they are stored between two batches of fills."""
    lots = (Lot(at_ms=5, qty=D("0.10")), Lot(at_ms=9, qty=D(2)))
    assert lots_from_json(lots_as_json(lots)) == lots


def ms(*parts: int) -> int:
    """A moment in UTC."""
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_days_weeks_and_months_of_a_zone() -> None:
    """A day of Berlin has 23 hours when summer time begins; weeks begin on Monday; December ends a year."""
    berlin = zone_of("Europe/Berlin")
    day = bucket_of(ms(2026, 3, 29, 12), Period.DAY, berlin)
    assert (day.day, day.start_ms, day.end_ms - day.start_ms) == (
        date(2026, 3, 29),
        ms(2026, 3, 28, 23),
        23 * 3_600_000,
    )
    week = bucket_of(ms(2026, 11, 29), Period.WEEK, UTC)
    assert (week.day, week.end_ms) == (date(2026, 11, 23), ms(2026, 11, 30))
    month = bucket_of(ms(2026, 12, 31, 23), Period.MONTH, UTC)
    assert (month.day, month.end_ms) == (date(2026, 12, 1), ms(2027, 1, 1))
    days = [one.day.day for one in buckets(ms(2026, 2, 27, 5), ms(2026, 3, 1, 0) + 1, Period.DAY, UTC)]
    assert days == [27, 28, 1]
    with pytest.raises(ValueError, match="must be a time zone like"):
        zone_of("Mars/Base")


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(list(Period)))
def test_every_moment_is_in_its_bucket(at_ms: int, period: Period) -> None:
    """In a zone with summer time, a zone off by 45 minutes, and UTC."""
    for name in ("America/New_York", "Asia/Kathmandu", "UTC"):
        bucket = bucket_of(at_ms, period, zone_of(name))
        assert bucket.start_ms <= at_ms < bucket.end_ms
