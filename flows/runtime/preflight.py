"""What is checked before anything starts, so that a wrong setting never leaves half a stack behind."""

from collections.abc import Callable

from tasks.base.errors import ConfigError, Problem
from tasks.base.settings import Settings, load, override_environment


def check_market_data(settings: Settings) -> None:
    """Read the replay's candle files once. Raises MarketDataError (file, line, fault) or ConfigError."""
    if settings.paper.market != "replay" or settings.paper.data is None or (settings.live and settings.exchange.live):
        return
    from tasks.exchange.paper.replay import scan  # reads files only; needs neither ccxt nor Redis

    for symbol in settings.symbols:
        scan(settings.paper.data, symbol)


def check_exchange(settings: Settings) -> None:
    """Whether real orders could go to the configured exchange, where the settings say so; nothing is sent.

    Raises ConfigError: an unknown exchange, features or keys it lacks, no sandbox, or no refusal of stale requests.
    """
    if settings.exchange.live:
        from tasks.exchange.live import live_exchange  # ccxt costs seconds: only for real orders

        live_exchange(settings.exchange)


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
