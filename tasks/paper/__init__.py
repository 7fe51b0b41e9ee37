"""Paper exchange: simulated money on recorded, made-up or live prices, behind ccxt's own API.

All state is in Redis, so every process sees one exchange: one account, one set of orders, one market clock.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.base.clock import Clock, utc_now
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.stored_market import KEEP, describe_market
from tasks.settings.model import Settings

if TYPE_CHECKING:
    from tasks.paper.exchange import PaperExchange

__all__ = ["describe_market", "open_manual_exchange", "open_paper_exchange"]


async def open_paper_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> "PaperExchange":
    """The account's paper exchange; the first caller opens its market, later ones join it.

    `beat`: keep the market's clock running as long as the exchange is open; without it a market nobody uses for more
    than 5 s stands still until it is opened again. Raises StateError, MarketDataError, ExchangeUnavailable.
    """
    from tasks.paper.building import built  # imports ccxt, which costs half a second
    from tasks.paper.opening import Opening

    market, first_prices = await Opening(settings, redis, clock).open()
    exchange = built(settings, market, first_prices)
    if beat:
        exchange.start_beating()
    return exchange


async def open_manual_exchange(
    settings: Settings,
    redis: RedisClient,
    candles: Mapping[str, Sequence[Candle]],
    clock: Clock = utc_now,
    *,
    keep: int = KEEP,
) -> "PaperExchange":
    """A paper exchange over the given candles by symbol, moved on by `advance(n)` only.

    The candles go to Redis, so that `open_paper_exchange` in another process joins this same market. `keep`: how many
    filled orders, cancelled orders and trades are kept, each per symbol.
    """
    from tasks.paper.building import built
    from tasks.paper.opening import Opening

    market, first_prices = await Opening(settings, redis, clock, keep).open_manual(candles)
    return built(settings, market, first_prices)
