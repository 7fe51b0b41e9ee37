"""What the exchange lists, and what the key may do: asked once before a start, and kept in the state folder.

`python -m tasks.exchange.listing` prints it as JSON: a start asks in a process of its own, because ccxt takes 90 MB.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from tasks.base.clock import to_ms, utc_now
from tasks.base.errors import ConfigError
from tasks.exchange.models import Frozen, Market
from tasks.exchange.venues.registry import venue_of
from tasks.settings.load import load
from tasks.settings.model import ExchangeSettings, Settings

ASK_SECONDS = 8.0
_LOOK_UP_SECONDS = 2.0
_KEPT_MS = 24 * 3_600_000
_FILE = "markets.json"


class Listing(Frozen):
    """The answer of one exchange. `not_asked`: why there is none; then the markets are of an earlier answer, if any.

    `markets`: filters by symbol. `unlisted`: configured symbols that it does not list. `may_withdraw`: whether the key
    may withdraw; None where that is not known.
    """

    exchange: str
    at_ms: int = 0
    markets: dict[str, Market] = Field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    may_withdraw: bool | None = None
    not_asked: str = ""


def kept(settings: Settings, folder: Path) -> Listing | None:
    """The newest answer in the state folder, of any age; None where it is of another exchange or lacks a symbol."""
    try:
        found = Listing.model_validate_json((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    known = {*found.markets, *found.unlisted}
    return found if found.exchange == _name(settings.exchange) and known >= set(settings.symbols) else None


def keep(listing: Listing, folder: Path) -> None:
    """Write an answer into the state folder, where there is one."""
    if folder.is_dir() and not listing.not_asked:
        (folder / _FILE).write_text(listing.model_dump_json(), encoding="utf-8")


def is_fresh(listing: Listing) -> bool:
    """Whether the answer is younger than a day."""
    return to_ms(utc_now()) - listing.at_ms < _KEPT_MS


async def ask(settings: Settings) -> Listing:
    """The exchange's answer within ASK_SECONDS; `not_asked` says why there is none."""
    name = _name(settings.exchange)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await _look_up(settings.exchange)
            return await _asked(settings, name)
    except TimeoutError:
        return Listing(exchange=name, not_asked=f"no answer within {ASK_SECONDS:.0f} s")
    except OSError as error:
        return Listing(exchange=name, not_asked=error.strerror or type(error).__name__)


def _name(settings: ExchangeSettings) -> str:
    """Of which exchange an answer is: another URL or its test net is another exchange."""
    return "|".join((settings.id, "sandbox" if settings.sandbox else "", settings.api_url or ""))


async def _look_up(settings: ExchangeSettings) -> None:
    """Raise OSError where the exchange's host has no address: without a network, ccxt need not be loaded."""
    host = urlsplit(settings.api_url).hostname if settings.api_url else venue_of(settings.id).host
    if host and not settings.sandbox:
        async with asyncio.timeout(_LOOK_UP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)


async def _asked(settings: Settings, name: str) -> Listing:
    import ccxt.async_support as ccxt

    from tasks.exchange.connect import ccxt_exchange
    from tasks.exchange.parsing import error_text, market_of

    keys = {} if settings.exchange.live else dict.fromkeys(("api_key", "secret", "password"))
    try:
        client = ccxt_exchange(settings.exchange.model_copy(update=keys))
    except ConfigError as error:
        return Listing(exchange=name, not_asked="; ".join(problem.rule for problem in error.problems))
    try:
        await client.load_markets()
        if not client.markets:
            return Listing(exchange=name, not_asked="the list of markets in its answer is empty")
        listed = [symbol for symbol in settings.symbols if symbol in client.markets]
        venue = venue_of(settings.exchange.id)
        return Listing(
            exchange=name,
            at_ms=to_ms(utc_now()),
            markets={symbol: market_of(client.markets[symbol], client.precisionMode, venue) for symbol in listed},
            unlisted=tuple(symbol for symbol in settings.symbols if symbol not in client.markets),
            may_withdraw=await _may_withdraw(client, settings),
        )
    except (ccxt.BaseError, AttributeError, LookupError, TypeError, ValueError) as error:  # also an unreadable answer
        return Listing(exchange=name, not_asked=f"{type(error).__name__}: {error_text(error)}")
    finally:
        await client.close()


async def _may_withdraw(client: Any, settings: Settings) -> bool | None:
    """Whether the key may withdraw; None where there is no key, or where the exchange does not say."""
    import ccxt.async_support as ccxt

    question = venue_of(settings.exchange.id).key_rights
    if question is None or settings.exchange.api_key is None or not settings.exchange.live:
        return None
    try:
        answer: dict[str, Any] = await getattr(client, question.call)()
    except ccxt.BaseError:
        return None  # a refused key shows at the first order; here it is no answer
    return question.may_withdraw(answer)


async def asked_apart(settings: Settings, command: Sequence[str] = ()) -> Listing:
    """As `ask`, in a process of its own, which reads the settings from this process's environment."""
    argv = list(command) or [sys.executable, "-m", "tasks.exchange.listing"]
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(3 * ASK_SECONDS):
            out, _ = await child.communicate()
        return Listing.model_validate_json(out)
    except (TimeoutError, ValidationError):
        return Listing(exchange=_name(settings.exchange), not_asked="its answer could not be read")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def main() -> None:
    """Print the answer for the settings of this environment."""
    sys.stdout.write(json.dumps(asyncio.run(ask(load())).model_dump(mode="json")))


if __name__ == "__main__":
    main()
