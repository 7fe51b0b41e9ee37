"""Before anybody trades: can every configured grid start at today's prices, filters and allocations?"""

from collections.abc import Mapping

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import from_units
from tasks.exchange.models import Market
from tasks.grid.levels import build_grid, grid_id
from tasks.grid.models import Grid
from tasks.tick.desk import Desk


async def refuse_impossible_grids(desk: Desk, markets: Mapping[str, Market]) -> None:
    """Raise one ConfigError for all grids that cannot start; those in force already are not looked at.

    A tick would refuse the same grid, one symbol at a time and in the log of a worker that seems to trade.
    """
    problems: list[Problem] = []
    wanted = await _without_grid(desk)
    shares = (await desk.allocator.get_global_status_summary()).symbols if wanted else {}
    for symbol in wanted:
        price = (await desk.exchange.ticker(symbol)).last
        allocated = from_units(shares[symbol].allocated_units)
        try:
            build_grid(symbol, desk.settings.symbols[symbol], markets[symbol], price, allocated, 0)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems, "the grids at today's prices")


async def _without_grid(desk: Desk) -> list[str]:
    """Configured symbols whose configured grid is not the one in force."""
    configured = desk.settings.symbols
    stored = await desk.redis.mget([desk.keys.grid(symbol) for symbol in configured])
    in_force = [Grid.model_validate_json(text).grid_id if text else None for text in stored]
    return [
        symbol for (symbol, own), held in zip(configured.items(), in_force, strict=True) if held != grid_id(symbol, own)
    ]
