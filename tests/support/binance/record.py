"""The exchange's own record of everything, and what tests ask of it."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from tasks.exchange.order_ids import Purpose, parse_order_id


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(_Row):
    """One change of the book, numbered: `placed`, `traded`, `amended` or `closed` (cancelled or expired)."""

    seq: int
    at_ms: int
    kind: str
    order_id: int
    trade_id: int | None = None


class OrderRow(_Row):
    """An order that was ever accepted; times in ms of the exchange, `executed` in base, `spent` in quote."""

    order_id: int
    client_id: str
    symbol: str
    side: str
    type: str
    price: Decimal
    qty: Decimal
    status: str
    executed: Decimal
    spent: Decimal
    placed_ms: int
    updated_ms: int
    trade_ids: tuple[int, ...]


class TradeRow(_Row):
    """One execution."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    at_ms: int


class RequestRow(_Row):
    """One request: what it asked (without its signature), its weight, and what came of it."""

    number: int
    at_ms: int
    method: str
    path: str
    params: dict[str, str]
    weight: int
    used_weight: int
    outcome: str
    fault: str | None = None


class FiredFault(_Row):
    """A fault that has happened to a request."""

    request: int
    at_ms: int
    kind: str
    method: str
    path: str


class Record(_Row):
    """Everything up to now; `totals` by asset, free and locked together."""

    orders: tuple[OrderRow, ...]
    trades: tuple[TradeRow, ...]
    events: tuple[Event, ...]
    requests: tuple[RequestRow, ...]
    faults: tuple[FiredFault, ...]
    totals: dict[str, Decimal]
    locked: dict[str, Decimal]
    highest_weight: int
    played: dict[str, int]


@dataclass(frozen=True)
class MoneyPoint:
    """Quote bound after event `seq`: `locked` in open buys (without fees), `held` what the base in hand has cost."""

    seq: int
    at_ms: int
    locked: Decimal
    held: Decimal

    @property
    def committed(self) -> Decimal:
        """Both together, to compare with the pool."""
        return self.locked + self.held


Lot = Callable[[OrderRow], str]


def cell_of(order: OrderRow) -> str:
    """Grid and cell of one of Gridflow's orders: its client id without side and cycle. A lot for `money_path`."""
    return order.client_id.rsplit("-", 2)[0]


def by_client_id(record: Record) -> dict[str, list[OrderRow]]:
    """Accepted orders by client id, in the order of their acceptance."""
    found: dict[str, list[OrderRow]] = {}
    for order in record.orders:
        found.setdefault(order.client_id, []).append(order)
    return found


def sent_twice(record: Record) -> dict[str, list[OrderRow]]:
    """Client ids under which more than one order was accepted; empty is what a correct bot leaves behind."""
    return {client_id: orders for client_id, orders in by_client_id(record).items() if len(orders) > 1}


def sent_otherwise(record: Record, asked: Collection[tuple[str, Decimal, Decimal]]) -> list[str]:
    """Client ids of order requests whose price and amount nobody asked for. `asked`: (client id, price, amount)."""
    sent = [row.params for row in record.requests if row.method == "POST" and row.path.endswith("/order")]
    return [
        one["newClientOrderId"]
        for one in sent
        if (one["newClientOrderId"], Decimal(one["price"]), Decimal(one["quantity"])) not in asked
    ]


def unseen_trades(record: Record, seen: Iterable[str | int], symbol: str | None = None) -> list[TradeRow]:
    """Trades (of `BTC/USDT` or all) whose ids are not among `seen`."""
    known = {str(trade_id) for trade_id in seen}
    wanted = symbol.replace("/", "") if symbol else None
    return [
        trade
        for trade in record.trades
        if str(trade.trade_id) not in known and (wanted is None or trade.symbol == wanted)
    ]


def open_orders(record: Record, symbol: str | None = None) -> list[OrderRow]:
    """Orders that rest now."""
    wanted = symbol.replace("/", "") if symbol else None
    return [
        order
        for order in record.orders
        if order.status in ("NEW", "PARTIALLY_FILLED") and (wanted is None or order.symbol == wanted)
    ]


def money_path(record: Record, lot: Lot = lambda order: order.symbol) -> list[MoneyPoint]:
    """Quote bound after every event. A sell takes the average cost of its lot; by default a symbol is one lot.

    A recoup (see `tasks.exchange.order_ids`) takes as much as it brings, and what is left without a cost is kept.
    With `lot` a sell can be told to close the buys of its own grid cell. Base that was there at the
    start costs nothing.
    """
    orders = {order.order_id: order for order in record.orders}
    trades = {trade.trade_id: trade for trade in record.trades}
    left: dict[int, Decimal] = {}
    base: dict[str, Decimal] = {}
    cost: dict[str, Decimal] = {}
    kept: dict[str, Decimal] = {}
    locked, path = Decimal(0), []
    for event in record.events:
        order = orders[event.order_id]
        buys, name = order.side == "BUY", lot(order)
        if event.kind == "placed":
            left[order.order_id] = order.qty
            locked += order.price * order.qty if buys else 0
        elif event.kind == "closed":
            locked -= order.price * left.pop(order.order_id) if buys else 0
        elif event.trade_id is not None:
            trade = trades[event.trade_id]
            left[order.order_id] -= trade.qty
            locked -= order.price * trade.qty if buys else 0
            _book(base, cost, kept, name, trade)
        path.append(MoneyPoint(event.seq, event.at_ms, locked, sum(cost.values(), Decimal(0))))
    return path


def most_committed(record: Record, lot: Lot = lambda order: order.symbol) -> Decimal:
    """The most quote that was ever bound at once."""
    return max((point.committed for point in money_path(record, lot)), default=Decimal(0))


def _book(
    base: dict[str, Decimal], cost: dict[str, Decimal], kept: dict[str, Decimal], name: str, trade: TradeRow
) -> None:
    held, paid = base.get(name, Decimal(0)), cost.get(name, Decimal(0))
    in_base = trade.fee_asset and trade.symbol.startswith(trade.fee_asset)
    in_quote = trade.symbol.endswith(trade.fee_asset)
    if trade.side == "BUY":
        base[name] = held + trade.qty - (trade.fee if in_base else 0)
        cost[name] = paid + trade.price * trade.qty + (trade.fee if in_quote else 0)
        return
    sold = min(held, trade.qty)
    lot = held - kept.get(name, Decimal(0))
    freed = paid * sold / held if held else paid
    if is_recoup(trade.client_id):
        income = trade.price * trade.qty - (trade.fee if in_quote else 0)
        freed = paid if sold >= lot else max(paid * sold / lot, min(paid, income))
    cost[name], base[name] = paid - freed, held - sold
    kept[name] = base[name] if not cost[name] else min(kept.get(name, Decimal(0)), base[name])


def is_recoup(client_id: str) -> bool:
    """Whether an order only brings back the cost of its lot."""
    name = parse_order_id(client_id)
    return name is not None and name.purpose is Purpose.RECOUP
