"""What is checked before anything starts, so that a wrong setting never leaves half a stack behind."""

from collections.abc import Callable

from tasks.base.errors import ConfigError, Problem
from tasks.exchange.live_checks import id_problems, live_problems
from tasks.settings.environment import override_environment
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.validated import Known


def start_problems(known: Known) -> list[Problem]:
    """What settings alone cannot tell: whether the exchange takes what they want of it, and the candle files."""
    sound = known.within("exchange")
    exchange = known.settings.exchange
    stands_against = live_problems if sound("live") and exchange.live else id_problems
    return [*stands_against(exchange, sound), *_candle_problems(known)]


def check_market_data(settings: Settings) -> None:
    """For paper trading: that ccxt knows the exchange and the candle files are good.

    Raises ConfigError with all faults. Of real orders `check_exchange` tells what stands against them.
    """
    if not (settings.live and settings.exchange.live):
        _refuse([*id_problems(settings.exchange), *_candle_problems(Known(settings))])


def check_exchange(settings: Settings) -> None:
    """For real orders: that they could go to the exchange; nothing is sent. Raises ConfigError with all faults."""
    _refuse(live_problems(settings.exchange))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError(problems, "the settings")


def _candle_problems(known: Known) -> list[Problem]:
    paper = known.settings.paper
    if not known.within("paper")("market", "data") or paper.market != "replay" or paper.data is None:
        return []
    from tasks.paper.replay import faults  # only a replay needs it

    symbols = known.settings.symbols if known.within()("symbols") else ()
    told = dict.fromkeys(str(fault) for symbol in symbols for fault in faults(paper.data, symbol))
    remedy = "Mend or replace the file, or name another folder"
    return [Problem("paper.data", str(paper.data), fault, remedy) for fault in told]


def settle_live(settings: Settings, live: bool, say: Callable[[str], None]) -> Settings:
    """Real orders only if the settings and the command line both say so; returns the settings that then hold.

    The command line's word goes to the children of this process too. Raises ConfigError for --live without
    `exchange.live`.
    """
    if live and not settings.exchange.live:
        rule = "--live is given, but the settings say no real orders"
        raise ConfigError([Problem("exchange.live", "false", rule, "Set live = true below [exchange]")], "--live")
    if settings.exchange.live and not live:
        say("Trading on paper: the settings say live = true, but --live is not given")
    override_environment({"GRIDFLOW_LIVE": "true" if live else "false"})
    return load()
