"""Checks that run before anything starts, so that a wrong setting never leaves half a stack running."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from tasks.base.errors import ConfigError, Problem
from tasks.exchange.live_checks import id_problems, live_problems
from tasks.exchange.models import Market
from tasks.exchange.venues.registry import venue_of
from tasks.grid.settings_fit import too_many_levels
from tasks.settings.environment import override_environment
from tasks.settings.hints import example_of
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.validated import Validated

_NO_MARKETS: Mapping[str, Market] = {}


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


def order_limit_notes(settings: Settings, markets: Mapping[str, Market] = _NO_MARKETS) -> list[str]:
    """What to know about grids with more levels than the exchange allows open orders in one symbol. No problem.

    `markets`: what the exchange says of its symbols, where it was asked; else its general limit counts.
    """
    return too_many_levels(settings, markets, venue_of(settings.exchange.id).max_orders)


@contextmanager
def blamed_on_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Name the flag instead of the setting in a ConfigError. `flags`: the flags given, by the field that each sets."""
    try:
        yield
    except ConfigError as error:
        found = [_blamed(problem, flags) for problem in error.problems]
        source = "the command line" if all(one.field in flags.values() for one in found) else error.source
        raise ConfigError(found, source) from None


def _blamed(problem: Problem, flags: Mapping[str, str]) -> Problem:
    flag = flags.get(problem.field)
    if flag is None:
        return problem
    example = example_of(tuple(problem.field.split(".")))
    remedy = f"Example: {flag} {example}" if problem.remedy.startswith("Example: ") else problem.remedy
    return replace(problem, field=flag, remedy=remedy)


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
