"""Statistics of trading over a period. Pure, in Decimal.

Totals of fills and rounds (`Tally`) add up: those of a month are the sum of those of its days.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import NamedTuple

from tasks.base.clock import DAY_MS
from tasks.base.money import ZERO, exact
from tasks.exchange.models import Frozen, Side
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, buckets
from tasks.ledger.rounds import Round

DAYS_A_YEAR = 365  # a market without holidays


@dataclass(frozen=True, slots=True)
class Tally:
    """Totals of some fills and rounds. Amounts in quote. No model: the archiver makes some thousand a second.

    profit: grid profit, of sells, after all fees. won and lost: profit of the rounds that made and that lost money;
    `lost` is not negative. held_ms: sum over the rounds.
    """

    buys: int = 0
    sells: int = 0
    volume: Decimal = ZERO
    fees: Decimal = ZERO
    profit: Decimal = ZERO
    rounds: int = 0
    wins: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO
    held_ms: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """The totals of both."""
        with exact():
            return Tally(
                self.buys + other.buys,
                self.sells + other.sells,
                self.volume + other.volume,
                self.fees + other.fees,
                self.profit + other.profit,
                self.rounds + other.rounds,
                self.wins + other.wins,
                self.won + other.won,
                self.lost + other.lost,
                self.held_ms + other.held_ms,
            )

    def __neg__(self) -> "Tally":
        """What takes these totals out of a sum."""
        return Tally(*(-value for value in astuple(self)))


def tally_of_fill(fill: Fill) -> Tally:
    """The totals of one fill."""
    buys = int(fill.side is Side.BUY)
    return Tally(buys, 1 - buys, fill.quote, fill.fee_quote, fill.profit, 0, 0, ZERO, ZERO, 0)


def tally_of_round(one: Round) -> Tally:
    """The totals of one round. Its fills count its profit."""
    won = max(one.profit, ZERO)
    return Tally(0, 0, ZERO, ZERO, ZERO, 1, int(one.profit > 0), won, won - one.profit, one.held_ms)


def total_of(tallies: Iterable[Tally]) -> Tally:
    """The sum of `tallies`."""
    return sum(tallies, Tally())


class CurvePoint(NamedTuple):
    """The account's worth at one moment, in quote. `capital`: the money put in so far, total_funds of the settings.

    A curve has thousands, so it is no model.
    """

    at_ms: int
    equity: Decimal
    capital: Decimal
    grid_profit: Decimal = ZERO


class Drawdown(Frozen):
    """The largest fall from a peak: as a share of the equity at the peak, in quote, and when."""

    share: Decimal = ZERO
    quote: Decimal = ZERO
    peak_ms: int | None = None
    trough_ms: int | None = None


class Statistics(Frozen):
    """Results of one period. Amounts in quote. None: not defined, for instance a ratio whose divisor is 0.

    total_pnl: change of equity without deposits. floating: total_pnl less grid_profit, the change of the floating PnL.
    buy_and_hold: what the capital would have earned, spread evenly over the symbols and held.
    """

    trades: int
    buys: int
    sells: int
    rounds: int
    win_rate: Decimal | None
    profit_factor: Decimal | None
    average_held_ms: int | None
    volume: Decimal
    fees: Decimal
    grid_profit: Decimal
    total_pnl: Decimal | None
    floating: Decimal | None
    grid_apr: Decimal | None
    total_apr: Decimal | None
    buy_and_hold: Decimal | None
    sharpe: Decimal | None
    sortino: Decimal | None
    drawdown: Drawdown


def statistics(
    tally: Tally,
    curve: Sequence[CurvePoint],
    start_ms: int,
    end_ms: int,
    *,
    capital: Decimal,
    first_prices: Mapping[str, Decimal] | None = None,
    last_prices: Mapping[str, Decimal] | None = None,
    zone: tzinfo = UTC,
) -> Statistics:
    """The statistics of `start_ms` to `end_ms`.

    `tally`: of that time. `curve`: oldest first; it may begin with the last point before `start_ms`. `capital`: that
    APRs and buy-and-hold refer to, above 0. Prices: by symbol, at start and end.
    """
    pnl = _gain(curve[0], curve[-1]) if len(curve) > 1 else None
    returns = daily_returns(curve, zone)
    return Statistics(
        trades=tally.buys + tally.sells,
        buys=tally.buys,
        sells=tally.sells,
        rounds=tally.rounds,
        win_rate=_ratio(Decimal(tally.wins), Decimal(tally.rounds)),
        profit_factor=profit_factor(tally),
        average_held_ms=tally.held_ms // tally.rounds if tally.rounds else None,
        volume=tally.volume,
        fees=tally.fees,
        grid_profit=tally.profit,
        total_pnl=pnl,
        floating=None if pnl is None else pnl - tally.profit,
        grid_apr=apr(tally.profit, capital, end_ms - start_ms),
        total_apr=None if pnl is None else apr(pnl, capital, end_ms - start_ms),
        buy_and_hold=buy_and_hold(capital, first_prices or {}, last_prices or {}),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        drawdown=max_drawdown(curve),
    )


def profit_factor(tally: Tally) -> Decimal | None:
    """Profit of the winning rounds ÷ loss of the losing rounds; None while no round lost."""
    return _ratio(tally.won, tally.lost)


def apr(profit: Decimal, capital: Decimal, span_ms: int) -> Decimal | None:
    """profit ÷ capital × 365 days ÷ span: a simple annual rate, without compounding. None for an empty span."""
    if span_ms <= 0 or capital <= 0:
        return None
    return profit / capital * (DAYS_A_YEAR * DAY_MS) / span_ms


def buy_and_hold(capital: Decimal, first: Mapping[str, Decimal], last: Mapping[str, Decimal]) -> Decimal | None:
    """Σ capital ÷ n × (last price ÷ first price − 1) over the n symbols with both prices; None without any."""
    symbols = sorted(first.keys() & last.keys())
    if not symbols:
        return None
    return sum((capital / len(symbols) * (last[name] / first[name] - 1) for name in symbols), ZERO)


def daily_returns(curve: Sequence[CurvePoint], zone: tzinfo = UTC) -> list[Decimal]:
    """The return of each day: (equity − equity of the day before − deposits) ÷ equity of the day before.

    A day's equity is the last point in it; a day without points keeps the one before. The first day only gives the
    equity to start from. Deposits are changes of `capital`, taken as made at the end of the day.
    """
    if not curve:
        return []
    times = [point.at_ms for point in curve]
    days = buckets(times[0], times[-1] + 1, Period.DAY, zone)
    closes = [curve[bisect_right(times, day.end_ms - 1) - 1] for day in days]
    pairs = itertools.pairwise(closes)
    return [_gain(before, after) / before.equity for before, after in pairs if before.equity > 0]


def sharpe(returns: Sequence[Decimal]) -> Decimal | None:
    """Mean ÷ standard deviation (n − 1) of daily returns, × √365. The risk-free rate is taken as 0.

    W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management, 1994. None for fewer than two returns, and where
    they do not differ.
    """
    if len(returns) < 2:
        return None
    mean = _mean(returns)
    deviation = (sum(((one - mean) ** 2 for one in returns), ZERO) / (len(returns) - 1)).sqrt()
    return _annual(mean, deviation)


def sortino(returns: Sequence[Decimal]) -> Decimal | None:
    """Mean ÷ downside deviation of daily returns, × √365. Downside deviation: √(Σ min(r, 0)² ÷ n), target 0.

    F. A. Sortino and R. van der Meer, "Downside Risk", Journal of Portfolio Management, 1991. None for fewer than two
    returns, and where none is below 0.
    """
    if len(returns) < 2:
        return None
    downside = (sum((min(one, ZERO) ** 2 for one in returns), ZERO) / len(returns)).sqrt()
    return _annual(_mean(returns), downside)


def max_drawdown(curve: Sequence[CurvePoint]) -> Drawdown:
    """max over t of (peak before t − value at t) ÷ equity at the peak, where value is equity less deposits.

    Of several equal falls the first counts.
    """
    with exact() as context:
        worths = [point.equity - point.capital for point in curve]
    worst = Drawdown()
    peak: CurvePoint | None = None
    highest = ZERO
    for point, worth in zip(curve, worths, strict=True):
        if peak is None or worth > highest:
            peak, highest = point, worth
        elif worth < highest and peak.equity > 0:
            fall = context.subtract(highest, worth)
            share = fall / peak.equity
            if share > worst.share:
                worst = Drawdown(share=share, quote=fall, peak_ms=peak.at_ms, trough_ms=point.at_ms)
    return worst


def _gain(before: CurvePoint, after: CurvePoint) -> Decimal:
    """Change of equity without deposits."""
    with exact():
        return after.equity - before.equity - (after.capital - before.capital)


def _mean(numbers: Sequence[Decimal]) -> Decimal:
    return sum(numbers, ZERO) / len(numbers)


def _ratio(number: Decimal, divisor: Decimal) -> Decimal | None:
    return number / divisor if divisor else None


def _annual(mean: Decimal, deviation: Decimal) -> Decimal | None:
    return mean / deviation * Decimal(DAYS_A_YEAR).sqrt() if deviation else None
