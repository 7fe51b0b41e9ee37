"""What a configured grid needs, costs and can earn, before it starts. Pure. Money in quote, shares as fractions."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from tasks.base.errors import Problem
from tasks.base.money import ZERO, exact, from_units, plain
from tasks.exchange.models import Frozen, Market
from tasks.grid.cells import recoup_qty
from tasks.grid.levels import configured_size, configured_sizes, first_sizes, levels
from tasks.grid.models import Cell
from tasks.grid.sizing import reserve_units, smallest_qty
from tasks.settings.grids import Earn, GridSettings, StartMode, net_profit
from tasks.settings.grids.common import ONE
from tasks.settings.model import Settings
from tasks.settings.places import dotted, grid_place


class GridPreview(Frozen):
    """One grid before it starts. `name`: among several of its symbol.

    levels: prices, lowest first; factors of the first price where that is not known (`price` is None then).
    narrowest, widest: (upper − lower) ÷ lower level of a cell; break_even: the least of it that pays both fees.
    fee_share: both fees of a round ÷ its profit before fees, over one round of every cell.
    quote_needed: what all cells commit, with fees; of an infinity grid, down to its lowest level. base_needed: what a
    balanced start buys at once, and its cost in quote, which is part of quote_needed; None where the price is not
    known. smallest_order: the least worth of an order; minimum: the least that the exchange takes there. Both None
    where its filters or the price are not known.
    least_kept, most_kept: base that a round of a cell keeps where the grid earns in base; None where it does not, and
    where the price is not known. lot_step: the least amount of base by which an order differs.
    allocated: what the allocator would give. funded: how many cells that pays for, the cheapest first.
    """

    symbol: str
    price: Decimal | None
    levels: tuple[Decimal, ...]
    cells: int
    least_profit: Decimal
    most_profit: Decimal
    narrowest: Decimal
    widest: Decimal
    break_even: Decimal
    fee_share: Decimal
    quote_needed: Decimal
    base_needed: Decimal | None = None
    base_cost: Decimal | None = None
    smallest_order: Decimal | None = None
    minimum: Decimal | None = None
    least_kept: Decimal | None = None
    most_kept: Decimal | None = None
    lot_step: Decimal | None = None
    allocated: Decimal
    funded: int
    name: str = ""

    def as_json(self) -> dict[str, object]:
        """The fields as JSON values; numbers as exact text."""
        found: dict[str, object] = {name: plain(value) if isinstance(value, Decimal) else value for name, value in self}
        return found | {"levels": [plain(level) for level in self.levels]}


class _Order(NamedTuple):
    """The first buy of a cell: its price, amount and cost with fee. `at_once`: of a balanced start, at the market."""

    price: Decimal
    qty: Decimal
    cost: Decimal
    at_once: bool


def preview_grid(
    symbol: str,
    own: GridSettings,
    settings: Settings,
    allocated: Decimal,
    market: Market | None = None,
    price: Decimal | None = None,
    name: str = "",
) -> GridPreview:
    """The preview. `market`: the exchange's filters; `price`: where the symbol begins. None: not known.

    `allocated`: to this grid, in quote. `name`: of one of several.
    """
    fees, has_prices = market or _market_of(symbol, settings), _has_prices(own, price)
    prices = _levels(own, market, price)
    orders = _orders(own, prices, fees, price, allocated, rounded=market is not None and has_prices)
    profits = [net_profit(low, high, fees.maker_fee, fees.maker_fee) for low, high in pairwise(prices)]
    spacings = [high / low - 1 for low, high in pairwise(prices)]
    entries = [order for order in orders if order.at_once]
    kept = _kept(own, prices, fees, allocated) if own.earn is Earn.BASE and has_prices else []
    return GridPreview(
        symbol=symbol,
        price=price,
        levels=prices,
        cells=len(prices) - 1,
        least_profit=min(profits),
        most_profit=max(profits),
        narrowest=min(spacings),
        widest=max(spacings),
        break_even=break_even(fees.maker_fee),
        fee_share=_fee_share(prices, fees.maker_fee),
        quote_needed=sum((order.cost for order in orders), _cost_below(own, allocated, fees, price or ONE)),
        base_needed=sum((order.qty for order in entries), ZERO) if price is not None else None,
        base_cost=sum((order.cost for order in entries), ZERO) if price is not None else None,
        smallest_order=min(order.price * order.qty for order in orders) if has_prices else None,
        minimum=_minimum(market, orders) if market is not None and has_prices else None,
        least_kept=min(kept, default=None),
        most_kept=max(kept, default=None),
        lot_step=None if market is None else market.lot_step,
        allocated=allocated,
        funded=_funded(orders, allocated),
        name=name,
    )


def break_even(fee: Decimal) -> Decimal:
    """The spacing at which a cell neither earns nor loses: 1 ÷ (1 − fee)² − 1."""
    return 1 / (1 - fee) ** 2 - 1


def unfunded_grids(
    settings: Settings,
    markets: Mapping[str, Market],
    prices: Mapping[str, Decimal],
    allocated: Mapping[str, Decimal],
) -> list[Problem]:
    """Grids of which not one cell can be paid for: its share of a new pot is below the cheapest cell."""
    found = []
    grids = ((symbol, name, grid) for symbol, own in settings.symbols.items() for name, grid in own.each_grid.items())
    for symbol, name, own in grids:
        market, price = markets.get(symbol), prices.get(symbol)
        cost = _cheapest(symbol, own, settings, market, price)
        share = allocated.get(symbol, ZERO)
        if configured_size(own) is None:  # a configured size may take what other grids of the symbol leave
            share *= settings.symbols[symbol].part_of(name)
        if cost is None or cost <= share:
            continue
        field, value = _field(symbol, name, own)
        rule = (
            f"its cheapest cell costs {_cents(cost)} with the fee, but the symbol would get {_cents(share)} of the pool"
        )
        remedy = "Use a smaller size, fewer symbols, or raise total_funds, max_usage_pct or weight"
        found.append(Problem(field, value, rule, remedy))
    return found


def _cheapest(
    symbol: str, own: GridSettings, settings: Settings, market: Market | None, price: Decimal | None
) -> Decimal | None:
    """What the cheapest cell costs; None where that is not known."""
    size = configured_size(own)
    if not _has_prices(own, price):
        return min((one.quote or ZERO for one in configured_sizes(own, price or ONE)), default=ZERO)
    prices = _levels(own, market, price)[:-1]
    if size is None and market is None:
        return ZERO
    fees = market or _market_of(symbol, settings)
    if size is None:
        amounts = [smallest_qty(fees, low) for low in prices]
    else:
        amounts = [fees.qty(one.qty(low)) for low, one in zip(prices, configured_sizes(own, price or ONE), strict=True)]
    return min(from_units(reserve_units(low, qty, fees.taker_fee)) for low, qty in zip(prices, amounts, strict=True))


def _field(symbol: str, name: str, own: GridSettings) -> tuple[str, str]:
    field = dotted(grid_place(symbol, name))
    if own.quote_per_cell is not None:
        return f"{field}.quote_per_cell", plain(own.quote_per_cell)
    if own.base_per_cell is not None:
        return f"{field}.base_per_cell", plain(own.base_per_cell)
    return f"{field}.cells", str(own.cells)


def _has_prices(own: GridSettings, price: Decimal | None) -> bool:
    """Whether the levels are prices: the first price is known, or they do not depend on it."""
    return price is not None or not own.is_relative


def _market_of(symbol: str, settings: Settings) -> Market:
    """Fees as configured and no filters, for an exchange that was not asked."""
    base, _, quote = symbol.partition("/")
    step = Decimal("1e-8")
    fees = settings.exchange
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=step,
        lot_step=step,
        maker_fee=fees.maker_fee,
        taker_fee=fees.taker_fee,
    )


def _levels(own: GridSettings, market: Market | None, price: Decimal | None) -> tuple[Decimal, ...]:
    if market is None or not _has_prices(own, price):
        return tuple(own.raw_levels(price or ONE))
    return levels(own, price or ONE, market)


def _orders(
    own: GridSettings,
    prices: tuple[Decimal, ...],
    market: Market,
    price: Decimal | None,
    allocated: Decimal,
    *,
    rounded: bool,
) -> list[_Order]:
    """The first buy of every cell."""
    first = price or ONE
    sizes, weights = first_sizes(own, allocated, market, first), own.cell_weights(first)
    found = []
    for number, (low, size) in enumerate(zip(prices, sizes, strict=False)):
        at_once = own.start is StartMode.BALANCED and price is not None and low >= price
        at = price if at_once and price is not None else low
        if at_once:  # weights of a balanced start are for the first price
            size = sizes[0].weighted(weights.of(number, entry=True) / weights.of(0))
        qty = market.qty(size.qty(at)) if rounded else size.qty(at)
        with exact():
            cost = at * qty * (1 + market.taker_fee)
        found.append(_Order(at, qty, cost, at_once))
    return found


def _cost_below(own: GridSettings, allocated: Decimal, market: Market, first_price: Decimal) -> Decimal:
    """What the cells below the range cost that it reaches in a fall: those of an infinity grid, down to `lower`."""
    if own.reserve_share is None:
        return ZERO
    size = first_sizes(own, allocated, market, first_price)[0]
    with exact():
        return own.start_index(first_price) * (size.quote or ZERO) * (1 + market.taker_fee)


def _kept(own: GridSettings, prices: tuple[Decimal, ...], market: Market, allocated: Decimal) -> list[Decimal]:
    """Base that a round of each cell keeps: what it buys less what brings back the cost."""
    sizes, found = first_sizes(own, allocated, market, prices[0]), []
    for (low, high), size in zip(pairwise(prices), sizes, strict=True):
        qty = market.qty(size.qty(low))
        with exact():
            cost = low * qty * (1 + market.maker_fee)
        cell = Cell(key="", grid_id="", index=0, buy_price=low, sell_price=high, qty=qty, basis=cost)
        found.append(qty - recoup_qty(cell, high, low, market))
    return found


def _minimum(market: Market, orders: list[_Order]) -> Decimal:
    """The least worth of an order that the exchange takes at the price of the smallest order."""
    least = min(orders, key=lambda order: order.price * order.qty)
    return max(market.min_notional, market.min_qty * least.price)


def _funded(orders: list[_Order], allocated: Decimal) -> int:
    left, count = allocated, 0
    for cost in sorted(order.cost for order in orders):
        left -= cost
        if left < 0:
            break
        count += 1
    return count


def _fee_share(prices: tuple[Decimal, ...], fee: Decimal) -> Decimal:
    """Fees of a round of every cell with the same money, ÷ what they earn before fees."""
    with exact():
        fees = sum((fee + fee * high / low for low, high in pairwise(prices)), ZERO)
        gross = sum((high / low - 1 for low, high in pairwise(prices)), ZERO)
        return fees / gross


def _cents(amount: Decimal) -> str:
    return plain(round(amount, 2))
