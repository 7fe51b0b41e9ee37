"""Checks before trading starts: at today's prices, configured grids can start and configured sizes can be bought."""

from collections.abc import Mapping

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Market
from tasks.grid.levels import build_grid, configured_sizes, kept_grids, size_problems
from tasks.grid.models import Grid
from tasks.tick.desk import Desk
from tasks.tick.models import TickReport


async def refuse_impossible_grids(desk: Desk, markets: Mapping[str, Market]) -> None:
    """Raise one ConfigError for all grids that cannot start, and for sizes that grids in force cannot buy.

    A symbol without a market is left out, and so is one that only sells already: a worker that starts again must not
    leave it, and the others, alone. Without this check, each symbol's tick would fail by itself, in the log of a
    running worker.
    """
    problems: list[Problem] = []
    in_force = await _grids_in_force(desk)
    shares = (await desk.allocator.get_global_status_summary()).symbols
    only_selling = await _only_selling(desk)
    for symbol, own in desk.settings.symbols.items():
        if symbol not in markets or symbol in only_selling:
            continue
        market, missing = markets[symbol], []
        for name, each in own.each_grid.items():
            grid = in_force.get((symbol, name))
            if grid is None:
                missing.append((name, each))
                continue
            problems += size_problems(symbol, grid.levels, configured_sizes(each, grid.first_price), market, name)
        price = (await desk.exchange.ticker(symbol)).last if missing else ZERO
        allocated = max(from_units(shares[symbol].allocated_units), desk.allocator.even_share)
        for name, each in missing:
            try:
                build_grid(symbol, each, market, price, allocated * own.part_of(name), 0, name)
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems, "the grids at today's prices")


async def _only_selling(desk: Desk) -> set[str]:
    """The symbols whose latest tick found the grid unfit."""
    symbols = list(desk.settings.symbols)
    stored = await desk.redis.mget([desk.keys.last_tick(symbol) for symbol in symbols])
    reports = [TickReport.model_validate_json(text) for text in stored if text]
    return {report.symbol for report in reports if report.unfit}


async def _grids_in_force(desk: Desk) -> dict[tuple[str, str], Grid]:
    """The configured grids that are in force, by symbol and name."""
    configured = desk.settings.symbols
    stored = await desk.redis.mget([desk.keys.grid(symbol) for symbol in configured])
    grids = [Grid.model_validate_json(text) if text else None for text in stored]
    return {
        (each.symbol, each.name): each
        for own, grid in zip(configured.values(), grids, strict=True)
        for each, _ in kept_grids(grid, own)
    }
