"""What the fast engine can play exactly, and the refusal of everything else by name. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from tasks.backtest.candles import CandleColumns
from tasks.backtest.fast import FastGrid
from tasks.backtest.quiet import KNOWN_FIELDS
from tasks.backtest.rule_bounds import BOUNDED, EVERY_CANDLE
from tasks.backtest.sharing import pool_of
from tasks.base.errors import ConfigError, Problem
from tasks.base.money import from_units, plain, units_down
from tasks.exchange.models import Market, PriceBand
from tasks.grid.levels import build_grid, configured_size, configured_sizes, grid_problems
from tasks.grid.models import Grid, Size
from tasks.grid.plan_models import MARKET_SLIPPAGE
from tasks.grid.sizing import reserve_units
from tasks.paper.units import to_units
from tasks.settings.grids import ArithmeticSettings, Earn, GeometricSettings, OneGrid, StartMode
from tasks.settings.grids.common import ONE
from tasks.settings.grids.placement import is_active
from tasks.settings.model import AllocationStrategy, Settings

_REMEDY = "Use --engine exact"
_MOST_LEVELS = 2000
_FAR_ENTRIES = "is smaller than the distance of cells that a balanced start buys for"
CANNOT_PLAY = "what the fast engine can play"  # the source of its refusals


def fast_grids(
    settings: Settings, markets: Mapping[str, Market], candles: Mapping[str, CandleColumns]
) -> dict[str, FastGrid]:
    """The grids in integers. Raises ConfigError where a grid cannot start, or for all that must be played exactly."""
    found = [*_account_problems(settings)]
    single = {symbol: own for symbol, own in settings.symbols.items() if isinstance(own, OneGrid)}
    for symbol in settings.symbols.keys() - single:
        found.append(_problem(f'symbols."{symbol}".grids', "several", "it plays one grid a symbol"))
    for symbol, own in single.items():
        found += _symbol_problems(symbol, own, markets[symbol])
    if found:
        raise ConfigError(found, CANNOT_PLAY)
    pool = pool_of(settings)
    share = pool // len(settings.symbols) if settings.allocation_strategy is AllocationStrategy.EQUAL else None
    weights = sum((own.weight for own in settings.symbols.values()), Decimal(0))
    grids: dict[str, FastGrid] = {}
    for symbol, own in single.items():
        allocated = share if share is not None else pool
        if share is None and len(settings.symbols) > 1:
            allocated = int(pool * own.weight / weights) if weights else 0
        grids[symbol] = _fast_grid(symbol, own, settings, markets[symbol], int(candles[symbol].open[0]), allocated)
    return grids


def _account_problems(settings: Settings) -> Iterator[Problem]:
    if settings.paper.fee_currency != "quote":
        yield _problem("paper.fee_currency", settings.paper.fee_currency, "leaves remainders that later lots sell")
    if settings.reinvest:
        yield _problem("reinvest", "true", "changes the pool with the profit")
    if len(settings.symbols) > 1 and settings.allocation_strategy is AllocationStrategy.DYNAMIC:
        yield _problem("allocation_strategy", "dynamic", "moves money between symbols")


def _symbol_problems(symbol: str, own: OneGrid, market: Market) -> Iterator[Problem]:
    field = f'symbols."{symbol}"'
    if type(own) not in (ArithmeticSettings, GeometricSettings):
        yield _problem(f"{field}.grid", own.grid, "is a kind of grid that it does not know")
    acting = (EVERY_CANDLE | BOUNDED | (set(type(own).model_fields) - KNOWN_FIELDS)) - {"activation_pct"}
    for name in sorted(acting):
        if getattr(own, name, None) is not None:
            yield _problem(f"{field}.{name}", str(getattr(own, name)), "is a rule that it does not know")
    if own.earn is Earn.BASE:
        yield _problem(f"{field}.earn", own.earn, "keeps base that cost nothing")
    if configured_size(own) is None:
        rule = "the size of a cell follows the allocation, and orders are replaced"
        yield _problem(f"{field}.quote_per_cell", "(not set)", rule)
    if market.max_orders is not None or not market.buy_band == market.sell_band == PriceBand():
        yield _problem(symbol, "its filters", "depend on the market's price or on the number of orders")


def _fast_grid(symbol: str, own: OneGrid, settings: Settings, market: Market, first: int, allocated: int) -> FastGrid:
    price = from_units(first)
    sizes = configured_sizes(own, price)
    grid = build_grid(symbol, own, market, price, from_units(allocated), 0)
    levels, lowest = _all_levels(own, grid, market)
    if len(levels) > len(grid.levels):
        sizes = sizes[:1] * (len(levels) - 1)
    entry_price = market.price_up(price * (1 + MARKET_SLIPPAGE))
    entering = own.start is StartMode.BALANCED
    entries = {cell - lowest: entry_price for cell, low in enumerate(grid.levels[:-1]) if entering and low >= price}
    problems = [*_entry_problems(symbol, levels, entry_price, entries, sizes, market)]
    if any(not is_active(levels[cell], price, own.activation_pct, has_order=False) for cell in entries):
        problems.append(_problem(f'symbols."{symbol}".activation_pct', str(own.activation_pct), _FAR_ENTRIES))
    problems += _lattice_problems(symbol, own, levels, sizes, market)
    problems += _money_problems(symbol, own, settings, _needed(levels, entries, sizes, market), allocated)
    if problems:
        raise ConfigError(problems, CANNOT_PLAY)
    return FastGrid(
        levels=tuple(map(to_units, levels)),
        lots=tuple(to_units(market.qty(one.qty(level))) for level, one in zip(levels, sizes, strict=False)),
        entries={cell: to_units(market.qty(sizes[cell].qty(entry_price))) for cell in entries},
        first=-lowest,
        cells=own.cells,
        follows_up=own.trail_limits.up is not None,
        follows_down=own.trail_limits.down is not None,
        lowest_index=lowest,
        reach=None if own.activation_pct is None else own.activation_pct.as_integer_ratio(),
    )


def _all_levels(own: OneGrid, grid: Grid, market: Market) -> tuple[tuple[Decimal, ...], int]:
    """Every level that the range may ever have, lowest first, and the index of the lowest."""
    limits, lowest, highest = own.trail_limits, 0, own.cells

    def level(index: int) -> Decimal:
        return market.price(own.level_at(grid.first_price, index))

    while limits.down is not None and level(lowest - 1) >= limits.down and highest - lowest < _MOST_LEVELS:
        lowest -= 1
    while limits.up is not None and level(highest + 1) <= limits.up and highest - lowest < _MOST_LEVELS:
        highest += 1
    return tuple(level(index) for index in range(lowest, highest + 1)), lowest


def _lattice_problems(
    symbol: str, own: OneGrid, levels: tuple[Decimal, ...], sizes: Sequence[Size], market: Market
) -> Iterator[Problem]:
    """Why a range that moves cannot be played: a rule that looks at where it is may act."""
    if len(levels) - 1 == own.cells:
        return
    if own.size_factor != ONE:
        yield _problem(f'symbols."{symbol}".size_factor', plain(own.size_factor), "changes sizes where the range moves")
    if len(levels) > _MOST_LEVELS:
        yield _problem(symbol, f"{len(levels)} levels", f"the range may move over more than {_MOST_LEVELS} levels")
    if grid_problems(symbol, levels, sizes, market):
        yield _problem(symbol, "its cells", "do not all pay their fees or fit the filters, where the range may move")


def _entry_problems(
    symbol: str,
    levels: Sequence[Decimal],
    entry_price: Decimal,
    entries: Mapping[int, Decimal],
    sizes: Sequence[Size],
    market: Market,
) -> Iterator[Problem]:
    if not entries:
        return
    small = [
        qty
        for cell in entries
        if not market.large_enough(min(entry_price, levels[cell + 1]), qty := market.qty(sizes[cell].qty(entry_price)))
    ]
    if small:
        yield _problem(symbol, plain(small[0]), "the lot of a balanced start is below the exchange's minimum")
    if any(levels[cell] == entry_price for cell in entries):
        yield _problem(symbol, plain(entry_price), "the price of a balanced start's orders is one of the levels")


def _needed(levels: Sequence[Decimal], entries: Mapping[int, Decimal], sizes: Sequence[Size], market: Market) -> int:
    """The most that all cells together can ever reserve or hold, in units."""
    total = 0
    for cell, (level, size) in enumerate(zip(levels, sizes, strict=False)):
        prices = {level, entries.get(cell, level)}
        total += max(reserve_units(price, market.qty(size.qty(price)), market.taker_fee) for price in prices)
    return total


def _money_problems(symbol: str, own: OneGrid, settings: Settings, needed: int, allocated: int) -> Iterator[Problem]:
    cap = units_down(settings.total_funds * own.max_usage_pct)
    if cap < allocated and len(settings.symbols) > 1:
        yield _problem(
            f'symbols."{symbol}".max_usage_pct', str(own.max_usage_pct), "caps the symbol's share of the pool"
        )
    if needed > min(cap, allocated):
        rule = f"its cells may need {plain(from_units(needed))}, more than it has: money may bind"
        yield _problem(symbol, plain(from_units(min(cap, allocated))), rule)


def _problem(field: str, value: str, rule: str) -> Problem:
    return Problem(field, value, rule, _REMEDY)
