"""Whether configured grids fit an exchange's filters and the pot, before anything trades. Pure. Money in quote."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from tasks.base.errors import Problem
from tasks.base.money import plain
from tasks.exchange.models import Market
from tasks.grid.levels import configured_size, first_sizes, grid_problems, levels, sizes_of
from tasks.settings.grids import GridSettings
from tasks.settings.grids.common import ONE
from tasks.settings.model import Settings


def unfit_grids(settings: Settings, markets: Mapping[str, Market], prices: Mapping[str, Decimal]) -> list[Problem]:
    """Grids that cannot start: an order below the exchange's minimum or above its maximum at any level, equal levels.

    `prices`: where each symbol begins, in quote per base. A symbol without a market is left out, and so is a range
    around a price that is not known.
    """
    found = []
    for symbol, name, own in _each_grid(settings):
        price = prices.get(symbol)
        if symbol in markets and (price is not None or not own.is_relative):
            market, share = markets[symbol], even_share(settings) * settings.symbols[symbol].part_of(name)
            sizes = first_sizes(own, share, market, price or ONE)
            found += grid_problems(symbol, levels(own, price or ONE, market), sizes, market, name)
    return found


def _each_grid(settings: Settings) -> Iterator[tuple[str, str, GridSettings]]:
    """Each grid with its symbol and its name."""
    for symbol, own in settings.symbols.items():
        for name, grid in own.each_grid.items():
            yield symbol, name, grid


def even_share(settings: Settings) -> Decimal:
    """What each symbol would get of the pool if it were shared evenly."""
    return settings.total_funds * settings.global_max_usage / max(len(settings.symbols), 1)


def money_notes(settings: Settings, prices: Mapping[str, Decimal]) -> list[str]:
    """Where configured sizes ask for more money than a symbol or the pool may use; those cells wait for money."""
    pool = settings.total_funds * settings.global_max_usage
    asked = dict.fromkeys(settings.symbols, Decimal(0))
    for symbol, _, own in _each_grid(settings):
        asked[symbol] += money_asked(own, prices.get(symbol))
    notes = []
    for symbol, amount in asked.items():
        cap = min(pool, settings.total_funds * settings.symbols[symbol].max_usage_pct)
        if amount > cap:
            cells = settings.symbols[symbol].cell_count
            notes.append(
                f"{symbol}: {cells} cells ask for {_amount(amount)} {settings.quote}, but the symbol may use "
                f"{_amount(cap)}. The cells nearest to the price get money, the others wait. "
                "Lower the size, use fewer cells, or raise max_usage_pct or total_funds"
            )
    total = sum(asked.values(), Decimal(0))
    if total > pool:
        notes.append(
            f"All grids together ask for {_amount(total)} {settings.quote}, but the pool is {_amount(pool)}. "
            "Cells without money wait. Lower the sizes, or raise total_funds"
        )
    return notes


def money_asked(own: GridSettings, price: Decimal | None) -> Decimal:
    """What all cells together cost with the configured size; 0 where the size follows the allocation."""
    size = configured_size(own)
    if size is None:
        return Decimal(0)
    if size.quote is not None:
        return size.quote * own.cell_weights(price or ONE).total
    if price is None and own.is_relative:
        return Decimal(0)
    lows = own.raw_levels(price or ONE)[:-1]
    priced = zip(lows, sizes_of(own, size, price or ONE), strict=True)
    return sum((low * one.qty(low) for low, one in priced), Decimal(0))


def too_many_levels(settings: Settings, markets: Mapping[str, Market], most: int | None) -> list[str]:
    """What to know about grids with more levels than the exchange allows open orders in one symbol.

    `most`: the exchange's general limit; a market's own comes first. None: no limit is known.
    """
    notes = []
    for symbol, own in settings.symbols.items():
        limit, cells = (markets[symbol].max_orders if symbol in markets else None) or most, own.cell_count
        if limit is not None and cells > limit:
            notes.append(
                f"{symbol}: {cells} cells, but {settings.exchange.id} allows {limit} open orders in one symbol. "
                f"The {limit} nearest levels get orders, the others wait (MAX_ORDERS). Paper trading has no such limit"
            )
    return notes


def _amount(amount: Decimal) -> str:
    return plain(round(amount, 2))
