"""Rounds: a sell order and the buys that it closes, first in first out within its cell. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tasks.base.money import ZERO, exact
from tasks.exchange.models import Frozen, Side
from tasks.ledger.models import Fill


class Lot(Frozen):
    """Base that a buy brought and that is not sold yet."""

    at_ms: int
    qty: Decimal


class Round(Frozen):
    """A sell order with at least one fill. Amounts in quote, `qty` in base, times in ms.

    cost: what the sold base had cost, fees included; proceeds: price × qty of the sells; profit: after all fees.
    held_ms: how long the sold base was held, each part weighted by its amount; 0 where no buy of it is known.
    """

    symbol: str
    sell_id: str  # client id of the sell order, or the trade id of a write-off
    cell_key: str
    opened_ms: int  # the oldest buy
    closed_ms: int  # the newest sell
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    proceeds: Decimal = ZERO
    profit: Decimal = ZERO
    held_ms: int = 0

    @property
    def buy_price(self) -> Decimal:
        """Average cost of one base unit, fees included; 0 for an empty round."""
        return self.cost / self.qty if self.qty else ZERO

    @property
    def sell_price(self) -> Decimal:
        """Average price of the sells; 0 for an empty round."""
        return self.proceeds / self.qty if self.qty else ZERO


def with_fill(lots: Iterable[Lot], found: Round | None, fill: Fill) -> tuple[tuple[Lot, ...], Round | None]:
    """The lots of the fill's cell after `fill`, and the round that it belongs to; None for a buy.

    `found`: the round so far, where the sell order had fills before.
    """
    held = tuple(lots)
    with exact():
        if fill.side is Side.BUY:
            return (*held, Lot.model_construct(at_ms=fill.at_ms, qty=fill.qty)), None
        left, sold = _taken(held, fill.qty)
        return left, _grown(found or _empty(fill, sold), fill, sold)


def _taken(lots: tuple[Lot, ...], qty: Decimal) -> tuple[tuple[Lot, ...], list[Lot]]:
    """The lots after `qty` is sold, oldest first, and the parts that were sold."""
    sold: list[Lot] = []
    for position, lot in enumerate(lots):
        if qty < lot.qty:
            sold += [Lot.model_construct(at_ms=lot.at_ms, qty=qty)] if qty else []
            return (Lot.model_construct(at_ms=lot.at_ms, qty=lot.qty - qty), *lots[position + 1 :]), sold
        sold.append(lot)
        qty -= lot.qty
    return (), sold


def _empty(fill: Fill, sold: list[Lot]) -> Round:
    opened_ms = min((lot.at_ms for lot in sold), default=fill.at_ms)
    return Round.model_construct(
        symbol=fill.symbol,
        sell_id=fill.client_id or fill.trade_id,
        cell_key=fill.cell_key,
        opened_ms=opened_ms,
        closed_ms=fill.at_ms,
    )


def _grown(found: Round, fill: Fill, sold: list[Lot]) -> Round:
    known = sum((lot.qty for lot in sold), ZERO)
    waited = sum(((fill.at_ms - lot.at_ms) * lot.qty for lot in sold), ZERO)
    held_ms = max(waited / known, ZERO) if known else Decimal(found.held_ms)
    qty = found.qty + fill.qty
    weighted = (found.held_ms * found.qty + held_ms * fill.qty) / qty if qty else ZERO
    changes = {
        "opened_ms": min([found.opened_ms, *(lot.at_ms for lot in sold)]),
        "closed_ms": max(found.closed_ms, fill.at_ms),
        "qty": qty,
        "cost": found.cost + fill.basis,
        "proceeds": found.proceeds + fill.quote,
        "profit": found.profit + fill.profit,
        "held_ms": int(weighted),
    }
    return found.model_copy(update=changes)


def rounds_of(fills: Iterable[Fill]) -> list[Round]:
    """All rounds of `fills`, in the order of their first sell. Fills are taken by time, then by trade id."""
    lots: dict[tuple[str, str], tuple[Lot, ...]] = {}
    rounds: dict[tuple[str, str], Round] = {}
    for fill in sorted(fills, key=lambda each: (each.at_ms, each.trade_id)):
        cell, order = (fill.symbol, fill.cell_key), (fill.symbol, fill.client_id or fill.trade_id)
        lots[cell], found = with_fill(lots.get(cell, ()), rounds.get(order), fill)
        if found is not None:
            rounds[order] = found
    return list(rounds.values())


def lots_as_json(lots: Iterable[Lot]) -> list[list[int | str]]:
    """Lots as JSON values: time and amount of each."""
    return [[lot.at_ms, str(lot.qty)] for lot in lots]


def lots_from_json(rows: Iterable[Mapping[int, object] | list[int | str]]) -> tuple[Lot, ...]:
    """The lots that `lots_as_json` returned."""
    return tuple(Lot(at_ms=int(str(row[0])), qty=Decimal(str(row[1]))) for row in rows)
