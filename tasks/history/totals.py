"""What new fills and new points change in the tables of totals: lots, rounds, days, hours. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tasks.base.clock import DAY_MS
from tasks.exchange.models import Side
from tasks.history.rows import HOUR_MS, Row
from tasks.ledger.models import Fill
from tasks.ledger.rounds import Lot, Round, with_fill
from tasks.ledger.statistics import Tally, tally_of_fill, tally_of_round

CellId = tuple[str, str]  # symbol, cell key
RoundId = tuple[str, str]  # symbol, sell id
DayId = tuple[str, str, int]  # symbol, side, days since the epoch
AccountDayId = tuple[str, int]  # side, days since the epoch
_SUMS = tuple(each.name for each in fields(Tally) if each.name not in ("buys", "sells"))


@dataclass
class FillTotals:
    """Totals of the cells, sell orders and days that some fills belong to."""

    lots: dict[CellId, tuple[Lot, ...]] = field(default_factory=dict)
    rounds: dict[RoundId, Round] = field(default_factory=dict)
    days: dict[DayId, Tally] = field(default_factory=dict)
    account_days: dict[AccountDayId, Tally] = field(default_factory=dict)

    def add(self, fill: Fill) -> None:
        """Count a fill. Fills of a cell come in the order in which they were booked."""
        self._count(fill.side, fill.at_ms, fill.symbol, tally_of_fill(fill))
        cell, order = (fill.symbol, fill.cell_key), (fill.symbol, sell_id(fill))
        before = self.rounds.get(order)
        self.lots[cell], after = with_fill(self.lots.get(cell, ()), before, fill)
        if after is None:
            return
        if before is not None:  # a round counts on the day of its newest sell
            self._count(Side.SELL, before.closed_ms, fill.symbol, -tally_of_round(before))
        self._count(Side.SELL, after.closed_ms, fill.symbol, tally_of_round(after))
        self.rounds[order] = after

    def _count(self, side: Side, at_ms: int, symbol: str, tally: Tally) -> None:
        day = at_ms // DAY_MS
        own, all_symbols = (symbol, side.value, day), (side.value, day)
        self.days[own] = self.days.get(own, Tally()) + tally
        self.account_days[all_symbols] = self.account_days.get(all_symbols, Tally()) + tally


def sell_id(fill: Fill) -> str:
    """What names the round of a sell: its order, or the write-off."""
    return fill.client_id or fill.trade_id


def day_row(day: DayId, tally: Tally) -> Row:
    """The row of the table of days."""
    symbol, side, number = day
    return {"symbol": symbol} | account_day_row((side, number), tally)


def account_day_row(day: AccountDayId, tally: Tally) -> Row:
    """The row of the table of days of all symbols."""
    side, number = day
    values = {name: getattr(tally, name) for name in _SUMS}
    return {"side": side, "day": number, "fills": tally.buys + tally.sells} | values


def tally_of_day(row: Mapping[str, Any]) -> Tally:
    """The totals that `day_row` or `account_day_row` wrote."""
    count = "buys" if row["side"] == Side.BUY.value else "sells"
    return Tally(**{name: row[name] for name in _SUMS}, **{count: row["fills"]})


def hours_of(points: Iterable[Row], known: Mapping[tuple[str, int], Row]) -> dict[tuple[str, int], Row]:
    """The rows of hours that `points` belong to, with them counted in. `known`: by symbol and hour."""
    found: dict[tuple[str, int], Row] = {}
    for point in points:
        hour = (str(point["symbol"]), point["at_ms"] // HOUR_MS * HOUR_MS)
        found[hour] = _with_point(found.get(hour) or known.get(hour), hour, point)
    return found


def _with_point(row: Row | None, hour: tuple[str, int], point: Row) -> Row:
    worth, at_ms = point["worth"], point["at_ms"]
    last = {"last_ms": at_ms, "last": worth} | {name: point[name] for name in ("grid_profit", "capital", "price")}
    if row is None:
        bounds = {"first_ms": at_ms, "first": worth, "lowest": worth, "highest": worth}
        return {"symbol": hour[0], "hour_ms": hour[1]} | bounds | last
    row = row | {"lowest": min(row["lowest"], worth), "highest": max(row["highest"], worth)}
    if at_ms >= row["last_ms"]:
        row |= last
    if at_ms < row["first_ms"]:
        row |= {"first_ms": at_ms, "first": worth}
    return row
