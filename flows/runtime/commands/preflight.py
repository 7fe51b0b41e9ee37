"""Checks that run before anything starts, so that a wrong setting never leaves half a stack running."""

from collections.abc import Callable

from tasks.base.errors import ConfigError, Problem
from tasks.exchange.live_checks import id_problems, live_problems
from tasks.exchange.venues.registry import venue_of
from tasks.settings.environment import override_environment
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.validated import Validated


def start_problems(validated: Validated) -> list[Problem]:
    """Problems that need more than the settings: what the exchange supports, and the candle files."""
    is_valid = validated.section("exchange")
    exchange = validated.settings.exchange
    problems_of = live_problems if is_valid("live") and exchange.live else id_problems
    return [*problems_of(exchange, is_valid), *_candle_problems(validated)]


def check_market_data(settings: Settings) -> None:
    """For paper trading: check that ccxt knows the exchange and that the candle files can be read.

    Raises ConfigError with all problems. `check_exchange` does the same for real orders.
    """
    if not (settings.live and settings.exchange.live):
        _refuse([*id_problems(settings.exchange), *_candle_problems(Validated(settings))])


def check_exchange(settings: Settings) -> None:
    """For real orders: check that the exchange supports them. Sends nothing. Raises ConfigError with all problems."""
    _refuse(live_problems(settings.exchange))


def order_limit_notes(settings: Settings) -> list[str]:
    """What to know about grids with more levels than the exchange allows open orders in one symbol. No problem."""
    most = venue_of(settings.exchange.id).max_orders
    return [
        f"{symbol}: {grid.cells} cells, but {settings.exchange.id} allows {most} open orders in one symbol. "
        f"The {most} nearest levels get orders, the others wait (MAX_ORDERS). Paper trading has no such limit"
        for symbol, grid in settings.symbols.items()
        if most is not None and grid.cells > most
    ]


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems, "the settings")


def _candle_problems(validated: Validated) -> list[Problem]:
    paper = validated.settings.paper
    if not validated.section("paper")("market", "data") or paper.market != "replay" or paper.data is None:
        return []
    from tasks.paper.replay import faults  # only a replay needs it

    symbols = validated.settings.symbols if validated.is_valid("symbols") else ()
    texts = dict.fromkeys(str(fault) for symbol in symbols for fault in faults(paper.data, symbol))
    remedy = "Mend or replace the file, or name another folder"
    return [Problem("paper.data", str(paper.data), fault, remedy) for fault in texts]


def confirm_live(settings: Settings, live: bool, say: Callable[[str], None]) -> Settings:
    """Allow real orders only if the settings and the command line both say so; the settings that then apply.

    Child processes of this one follow the same choice. Raises ConfigError for --live without `exchange.live`.
    """
    if live and not settings.exchange.live:
        rule = "--live is given, but the settings say no real orders"
        raise ConfigError([Problem("exchange.live", "false", rule, "Set live = true below [exchange]")], "--live")
    if settings.exchange.live and not live:
        say("Trading on paper: the settings say live = true, but --live is not given")
    override_environment({"GRIDFLOW_LIVE": "true" if live else "false"})
    return load()
