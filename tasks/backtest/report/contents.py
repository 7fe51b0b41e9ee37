"""What a report shows, from fills, prices and an equity curve. Pure, in Decimal."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import NamedTuple

from tasks.base.money import ZERO, exact
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, bucket_of
from tasks.ledger.rounds import rounds_of
from tasks.ledger.statistics import CurvePoint, Statistics, statistics, tally_of_fill, tally_of_round, total_of

PricePoints = Sequence[tuple[int, Decimal]]  # time in ms, price; oldest first


class MonthRow(NamedTuple):
    """One month: its first day, change of equity, its share of the equity at its start, grid profit, fills."""

    month: str
    change: Decimal
    share: Decimal | None
    grid_profit: Decimal
    fills: int


@dataclass(frozen=True)
class Contents:
    """A report. `prices`: by symbol. `levels`: of the grid, by symbol; empty where it is not known.

    `curve`: the account, oldest first. `held`: by symbol, the worth of its base at each point of the curve. `hold`: at
    each point, what the capital would be worth if it had been spread over the symbols and held. `settings`: as text.
    """

    title: str
    start_ms: int
    end_ms: int
    fills: Sequence[Fill]
    prices: Mapping[str, PricePoints]
    levels: Mapping[str, Sequence[Decimal]]
    curve: Sequence[CurvePoint]
    held: Mapping[str, Sequence[Decimal]]
    hold: Sequence[Decimal]
    statistics: Statistics
    months: Sequence[MonthRow]
    settings: str


def contents_of(
    title: str,
    fills: Sequence[Fill],
    prices: Mapping[str, PricePoints],
    levels: Mapping[str, Sequence[Decimal]],
    curve: Sequence[CurvePoint],
    capital: Decimal,
    settings: str,
    earlier: Sequence[Fill] = (),
) -> Contents:
    """The report over the time of `curve`, which has at least one point. `prices`: at least one of each symbol.

    `earlier`: the fills before that time. They brought what was held at its start.
    """
    start_ms, end_ms = curve[0].at_ms, curve[-1].at_ms
    everything = [*earlier, *fills]
    sold = {(fill.symbol, fill.client_id or fill.trade_id) for fill in fills if fill.side is Side.SELL}
    rounds = [one for one in rounds_of(everything) if (one.symbol, one.sell_id) in sold]
    tally = total_of([*map(tally_of_fill, fills), *map(tally_of_round, rounds)])
    first = {symbol: points[0][1] for symbol, points in prices.items()}
    last = {symbol: points[-1][1] for symbol, points in prices.items()}
    found = statistics(tally, curve, start_ms, end_ms, capital=capital, first_prices=first, last_prices=last)
    times = [point.at_ms for point in curve]
    at = {symbol: _prices_at(points, times) for symbol, points in prices.items()}
    return Contents(
        title=title,
        start_ms=start_ms,
        end_ms=end_ms,
        fills=fills,
        prices=prices,
        levels=levels,
        curve=curve,
        held={symbol: _worth(everything, symbol, times, at[symbol]) for symbol in prices},
        hold=_held_instead(capital, first, at, len(times)),
        statistics=found,
        months=_months(curve, fills),
        settings=settings,
    )


def _prices_at(points: PricePoints, times: Sequence[int]) -> list[Decimal]:
    """The newest price at each time; the first one before there is any."""
    known = [at_ms for at_ms, _ in points]
    return [points[max(bisect_right(known, at_ms) - 1, 0)][1] for at_ms in times]


def base_at(fills: Sequence[Fill], symbol: str, times: Sequence[int]) -> list[Decimal]:
    """The base that the fills brought, at each time."""
    own = sorted((fill for fill in fills if fill.symbol == symbol), key=lambda fill: fill.at_ms)
    out, base, number = [], ZERO, 0
    with exact():
        for at_ms in times:
            while number < len(own) and own[number].at_ms <= at_ms:
                fill = own[number]
                taken = fill.fee if fill.fee_currency == symbol.partition("/")[0] else ZERO
                base += (fill.qty if fill.side is Side.BUY else -fill.qty) - taken
                number += 1
            out.append(base)
    return out


def _worth(fills: Sequence[Fill], symbol: str, times: Sequence[int], prices: Sequence[Decimal]) -> list[Decimal]:
    return [base * price for base, price in zip(base_at(fills, symbol, times), prices, strict=True)]


def _held_instead(
    capital: Decimal, first: Mapping[str, Decimal], at: Mapping[str, Sequence[Decimal]], count: int
) -> list[Decimal]:
    part = capital / max(len(first), 1)
    return [sum((part * at[symbol][i] / first[symbol] for symbol in first), ZERO) for i in range(count)]


def _months(curve: Sequence[CurvePoint], fills: Sequence[Fill]) -> list[MonthRow]:
    """One row a month, oldest first. A month's change is to its last point, from that of the month before."""
    rows, before = [], curve[0]
    while before.at_ms < curve[-1].at_ms:
        bucket = bucket_of(before.at_ms, Period.MONTH, UTC)
        points = [point for point in curve if before.at_ms < point.at_ms <= bucket.end_ms]
        if not points:  # nothing is known of this month
            points = [next(point for point in curve if point.at_ms > bucket.end_ms)]
        end = points[-1]
        own = [
            fill
            for fill in fills
            if before.at_ms <= fill.at_ms < end.at_ms or fill.at_ms == end.at_ms == curve[-1].at_ms
        ]
        change = end.equity - before.equity - (end.capital - before.capital)
        share = change / before.equity if before.equity > 0 else None
        profit = sum((fill.profit for fill in own), ZERO)
        rows.append(MonthRow(f"{bucket.day:%Y-%m}", change, share, profit, len(own)))
        before = end
    return rows
