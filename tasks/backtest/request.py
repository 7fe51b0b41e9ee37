"""What a backtest runs with: settings and markets, from a settings file or from a few values alone. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from tasks.backtest.candles import CandleColumns
from tasks.base.errors import ConfigError, Problem
from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Market
from tasks.paper.units import filters_for
from tasks.settings.checks import rule_problems
from tasks.settings.model import Settings
from tasks.settings.problems import problems_of
from tasks.settings.validated import Validated

SOURCE = "the command line"


def wrong_option(option: str, value: str, rule: str, remedy: str) -> ConfigError:
    """The error of an option or argument on the command line."""
    return ConfigError([Problem(option, value, rule, remedy)], SOURCE)


def settings_of(
    symbol: str,
    funds: str,
    grid: Mapping[str, str],
    *,
    maker_fee: str = "0.001",
    taker_fee: str = "0.001",
    fee_currency: str = "quote",
) -> Settings:
    """Settings of one symbol that may use all the funds. `grid`: fields of its table, as text.

    No file and no environment is read. Raises ConfigError with every problem.
    """
    quote = symbol.rpartition("/")[2]
    values: dict[str, Any] = {
        "quote": quote,
        "total_funds": funds,
        "global_max_usage": "1",
        "exchange": {"maker_fee": maker_fee, "taker_fee": taker_fee},
        "paper": {"fee_currency": fee_currency},
        "symbols": {symbol: dict(grid)},
    }
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(error), SOURCE) from None
    if problems := rule_problems(Validated(settings)):
        raise ConfigError(problems, SOURCE)
    return settings


def market_of(
    symbol: str,
    settings: Settings,
    tick_size: Decimal,
    lot_step: Decimal,
    min_notional: Decimal = ZERO,
) -> Market:
    """A market with the filters that are given and the settings' fees. Raises ConfigError.

    Prices and amounts have at most 8 decimals, as on the paper exchange.
    """
    for field, step in (("tick_size", tick_size), ("lot_step", lot_step)):
        if step <= 0 or step % Decimal("1e-8"):
            rule = "must be above 0, with at most 8 decimals"
            raise ConfigError([Problem(field, str(step), rule, "Give the exchange's step, for instance 0.01")], SOURCE)
    base, quote = symbol.split("/")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=tick_size,
        lot_step=lot_step,
        min_notional=min_notional,
        maker_fee=settings.exchange.maker_fee,
        taker_fee=settings.exchange.taker_fee,
    )


def paper_markets(settings: Settings, candles: Mapping[str, CandleColumns]) -> dict[str, Market]:
    """The markets of the settings' symbols as the paper exchange would list them."""
    found = {}
    for symbol in settings.symbols:
        own = filters_for(symbol, from_units(int(candles[symbol].open[0])))
        market = market_of(symbol, settings, own.tick, own.lot, own.min_notional)
        found[symbol] = market.model_copy(update={"min_qty": own.min_qty, "max_qty": own.max_qty})
    return found
