"""The preview of a grid before it starts: what it earns, costs and needs, and its picture."""

from decimal import Decimal
from typing import Any

import pytest

from flows.runtime.commands.preflight_text import grid_lines, picture
from tasks.funds.rebalancing import first_allocations
from tasks.grid.preflight import GridPreview, break_even, preview_grid, unfunded_grids
from tasks.settings.grids import net_profit
from tasks.settings.model import Settings
from tests.support.backtests import market

BTC = "BTC/USDT"
PRICE = Decimal(42_000)
PUBLISHED = {"grid": "arithmetic", "lower": "24323.5", "upper": "33444.8", "cells": 6}


def settings(grid: dict[str, Any], **changes: Any) -> Settings:
    """One symbol."""
    return Settings.model_validate({"symbols": {BTC: grid}} | changes)


def preview(grid: dict[str, Any], allocated: str = "9500", price: Decimal | None = PRICE) -> GridPreview:
    """With Binance-like filters: a minimum of 5 quote."""
    own = settings(grid)
    return preview_grid(BTC, own.symbols[BTC].each_grid[""], own, Decimal(allocated), market(min_notional="5"), price)


def test_profits_agree_with_a_published_grid() -> None:
    """Six cells from 24323.5 to 33444.8, 0.1 % fees, to 1e-5: the exchange that published them cuts its levels."""
    own = settings(PUBLISHED)
    rounded = market(tick_size="0.01")
    found = preview_grid(BTC, own.symbols[BTC].each_grid[""], own, Decimal(1000), rounded, Decimal(30_000))
    assert len(found.levels) == found.cells + 1 == 7
    assert abs(found.most_profit - Decimal("0.0603752931814911")) < Decimal("1e-5")
    assert abs(found.least_profit - Decimal("0.0455275366818586")) < Decimal("1e-5")


def test_break_even_is_where_a_cell_earns_nothing() -> None:
    """A little wider earns, a little narrower loses."""
    fee = Decimal("0.001")
    spacing = break_even(fee)
    assert round(spacing, 6) == Decimal("0.002003")
    assert abs(net_profit(Decimal(1), 1 + spacing, fee, fee)) < Decimal("1e-24")


def test_what_a_flat_grid_needs() -> None:
    """Every cell buys at its lower level; nothing at once."""
    found = preview({"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 4, "quote_per_cell": "100"})
    lots = ["0.0025", "0.00243", "0.00238", "0.00232"]
    costs = [Decimal(lot) * low * Decimal("1.001") for lot, low in zip(lots, range(40_000, 44_000, 1000), strict=True)]
    assert found.quote_needed == sum(costs)
    assert (found.base_needed, found.base_cost) == (Decimal(0), Decimal(0))
    assert found.smallest_order == Decimal("0.00243") * 41_000
    assert (found.minimum, found.funded) == (Decimal(5), 4)
    assert preview({**PUBLISHED, "quote_per_cell": "100"}, allocated="250").funded == 2


def test_what_a_balanced_grid_needs() -> None:
    """The cells above the price are bought at the market, the price's own and those below at their levels."""
    found = preview({"range_pct": "0.04", "cells": 4, "start": "balanced", "base_per_cell": "0.01"})
    assert found.base_needed == Decimal("0.02"), "two cells begin at the price or above it"
    assert found.base_cost == Decimal("0.02") * PRICE * Decimal("1.001")
    assert found.quote_needed > found.base_cost
    assert found.least_profit > 0 < found.fee_share < 1


def test_without_a_price_the_levels_are_factors() -> None:
    """Nothing is claimed that depends on the price."""
    found = preview({"range_pct": "0.04", "cells": 4, "quote_per_cell": "100"}, price=None)
    assert (found.levels[0], found.levels[-1]) == (Decimal("0.96"), Decimal("1.04"))
    assert (found.base_needed, found.smallest_order, found.minimum) == (None, None, None)
    assert round(found.quote_needed, 6) == Decimal("400.4")
    assert "factors of the first price" in picture(found)[-1]


def test_the_picture_has_the_price_between_the_levels() -> None:
    """Highest first; what each level does at the start; a long ladder shows every n-th level."""
    found = preview({"grid": "arithmetic", "lower": "41000", "upper": "43000", "cells": 4, "start": "balanced"})
    assert picture(found.model_copy(update={"price": Decimal(42_100)})) == [
        "43,000 ┤ sells",
        "42,500 ┤ sells",
        "       ┼── price 42,100",
        "42,000 ┤ buys",
        "41,500 ┤ buys",
        "41,000 ┤ buys",
    ]
    long = preview({"grid": "arithmetic", "lower": "30000", "upper": "50000", "cells": 100, "start": "flat"})
    rows = picture(long)
    assert len(rows) <= 14
    assert (rows[0], rows[-1]) == ("50,000 ┤ waits", "(every 10 levels)")
    below = preview({**PUBLISHED, "start": "flat"}, price=Decimal(20_000))
    assert picture(below)[-1].endswith("price 20,000")
    assert max(map(len, grid_lines(found, "USDT"))) <= 100


@pytest.mark.parametrize(
    ("grid", "changes", "field", "said"),
    [
        ({"weight": "0"}, {"allocation_strategy": "weighted"}, "cells", "would get 0 of the pool"),
        ({"max_usage_pct": "0.0004"}, {}, "cells", "would get 4 of the pool"),
        ({"base_per_cell": "0.3"}, {}, "base_per_cell", "cheapest cell costs 12012"),
        ({"quote_per_cell": "9499"}, {}, "quote_per_cell", "but the symbol would get 9500 of the pool"),
    ],
)
def test_a_grid_that_cannot_be_funded_is_refused(
    grid: dict[str, str], changes: dict[str, str], field: str, said: str
) -> None:
    """Not one cell could ever be bought: field, value, rule and remedy."""
    levels = {"grid": "arithmetic", "lower": "40000", "upper": "44000", "cells": 4}
    own = settings(levels | grid, **changes)
    other = Settings.model_validate(own.model_dump() | {"symbols": {BTC: levels | grid, "ETH/USDT": levels}})
    used = other if "weight" in grid else own
    markets = {BTC: market(min_notional="5")}
    (problem,) = unfunded_grids(used, markets, {BTC: PRICE}, first_allocations(used))
    assert problem.field == f'symbols."{BTC}".{field}'
    assert said in problem.rule
    assert problem.remedy.startswith("Use a smaller size")
    enough = settings(levels | {"quote_per_cell": "9000"})
    assert unfunded_grids(enough, markets, {BTC: PRICE}, first_allocations(enough)) == []


def test_an_infinity_grid_needs_money_down_to_its_lowest_level() -> None:
    """And, at once, the base for all levels above the price: 101 cells at 1 %, less what the price is above a level."""
    own = {
        "grid": "infinity",
        "lower": "30000",
        "spacing_pct": "0.01",
        "cells": 8,
        "quote_per_cell": "40",
        "start": "balanced",
    }
    found = preview(own)
    assert found.base_cost is not None
    assert 0.97 < found.base_cost / (40 * 101) < 1.01
    below = 34  # levels from 30000 to 42000, 1 % apart
    assert abs(found.quote_needed - found.base_cost - below * 40) < 40
