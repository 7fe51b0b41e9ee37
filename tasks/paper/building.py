"""Opens a `PaperExchange`: its market in Redis, then the exchange over it. Importing this imports ccxt."""

from collections.abc import Mapping, Sequence

from tasks.base.clock import Clock, utc_now
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Candle
from tasks.paper.candles import price_of
from tasks.paper.exchange import PaperExchange
from tasks.paper.filters import filters_for, filters_of
from tasks.paper.market import PaperMarket
from tasks.paper.opening import Opening
from tasks.paper.stored_market import KEEP
from tasks.paper.units import Fees
from tasks.settings.model import Settings


async def open_paper_exchange(
    settings: Settings, redis: RedisClient, clock: Clock = utc_now, *, beat: bool = True
) -> PaperExchange:
    """The account's paper exchange; the first caller opens its market, later ones join it.

    `beat`: keep the market's clock running as long as the exchange is open; without it a market nobody uses for more
    than 5 s stands still until it is opened again. Raises StateError, MarketDataError, ExchangeUnavailable.
    """
    market, first_prices = await Opening(settings, redis, clock).open()
    exchange = _built(settings, market, first_prices)
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
) -> PaperExchange:
    """A paper exchange over the given candles by symbol, moved on by `advance(n)` only.

    The candles go to Redis, so that `open_paper_exchange` in another process joins this same market. `keep`: how many
    filled orders, cancelled orders and trades are kept, each per symbol.
    """
    market, first_prices = await Opening(settings, redis, clock, keep).open_manual(candles)
    return _built(settings, market, first_prices)


def _built(settings: Settings, market: PaperMarket, first_prices: Mapping[str, int]) -> PaperExchange:
    """The exchange; on live prices with the real exchange's filters, else with known or derived ones."""
    fees = Fees(settings.exchange.maker_fee, settings.exchange.taker_fee, settings.paper.fee_currency == "base")
    filters = {
        symbol: filters_of(market.live.market(symbol)) if market.live else filters_for(symbol, price_of(price))
        for symbol, price in first_prices.items()
    }
    return PaperExchange(market, filters, fees)
