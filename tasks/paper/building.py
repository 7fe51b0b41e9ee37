"""Puts a `PaperExchange` together from settings and an open market."""

from collections.abc import Mapping

from tasks.paper.candles import price_of
from tasks.paper.exchange import PaperExchange
from tasks.paper.filters import filters_for, filters_of
from tasks.paper.market import PaperMarket
from tasks.paper.units import Fees
from tasks.settings.model import Settings


def built(settings: Settings, market: PaperMarket, first_prices: Mapping[str, int]) -> PaperExchange:
    """The exchange; on live prices with the real exchange's filters, else with known or derived ones."""
    fees = Fees(settings.exchange.maker_fee, settings.exchange.taker_fee, settings.paper.fee_currency == "base")
    filters = {
        symbol: filters_of(market.live.market(symbol)) if market.live else filters_for(symbol, price_of(price))
        for symbol, price in first_prices.items()
    }
    return PaperExchange(market, filters, fees)
