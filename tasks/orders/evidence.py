"""Gather what the exchange shows about the journal, with as few calls as the state allows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from tasks.base.errors import ExchangeError
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, Trade
from tasks.exchange.port import ExchangePort
from tasks.orders.models import Evidence, Intent
from tasks.orders.rules import (
    MOST_LOOKUPS,
    moved,
    needs_lookup,
    own_trades,
    possible_orders,
    resting_order,
    trades_since,
)

log = logging.getLogger(__name__)
Booked = Callable[[Sequence[str]], Awaitable[Collection[str]]]


async def gather_evidence(
    exchange: ExchangePort,
    symbol: str,
    intents: Sequence[Intent],
    open_orders: Sequence[Order],
    cursor_ms: int,
    booked: Booked,
) -> dict[str, Evidence]:
    """Evidence by client id. Nothing moved: no call. Else one read of trades; a lookup only where those leave doubt.

    Open orders must have been read before: a fill between the two reads then shows in the trades. `booked` tells
    which trades are in the books already: their orders are others than those in doubt.
    """
    resting = {intent.client_id: resting_order(intent, open_orders) for intent in intents}
    restless = [intent for intent in intents if moved(intent, resting[intent.client_id])]
    trades: list[Trade] = []
    if restless:
        trades = await exchange.trades(symbol, trades_since(restless, cursor_ms))
    doubtful = [intent for intent in restless if needs_lookup(intent, resting[intent.client_id], trades)]
    found = await asyncio.gather(*(exchange.order(symbol, intent.client_id, intent.exchange_id) for intent in doubtful))
    looked_up = {intent.client_id: order for intent, order in zip(doubtful, found, strict=True)}
    lost = [one for one in doubtful if looked_up[one.client_id] is None and one.exchange_id is None]
    known = {intent.exchange_id for intent in intents}
    if lost and trades:
        in_books = await booked([trade.trade_id for trade in trades])
        known |= {trade.exchange_id for trade in trades if trade.trade_id in in_books}
    for intent in lost:
        candidates = possible_orders(intent, trades, known)
        order = await _by_trades(exchange, intent, candidates[:MOST_LOOKUPS])
        if order is None and len(candidates) > MOST_LOOKUPS:
            del looked_up[intent.client_id]  # not all were looked at: that it was not found proves nothing
        else:
            looked_up[intent.client_id] = order
    return {
        intent.client_id: Evidence(
            resting=resting[intent.client_id],
            looked_up=intent.client_id in looked_up,
            found=looked_up.get(intent.client_id),
            trades=tuple(trades),
        )
        for intent in intents
    }


async def _by_trades(exchange: ExchangePort, intent: Intent, candidates: Sequence[str]) -> Order | None:
    """An order whose id the exchange no longer finds, through the trades since the intent.

    An exchange may free the id of an order that filled at once; its trades still name the order.
    """
    for exchange_id in candidates:
        order = await exchange.order(intent.symbol, intent.client_id, exchange_id)
        if order is not None and order.client_id == intent.client_id:
            return order
    return None


async def third_coin_prices(
    exchange: ExchangePort, intents: Iterable[Intent], evidence: Mapping[str, Evidence], market: Market
) -> Mapping[str, Decimal]:
    """Price in quote of every third coin that fees of our orders were paid in; empty in the usual case."""
    paid = {
        trade.fee_currency
        for intent in intents
        for trade in own_trades(intent, _order_id(intent, evidence), evidence[intent.client_id].trades)
        if trade.fee
    }
    return await prices_of_coins(exchange, paid, market)


def _order_id(intent: Intent, evidence: Mapping[str, Evidence]) -> str | None:
    order = evidence[intent.client_id].resting or evidence[intent.client_id].found
    return order.exchange_id if order else intent.exchange_id


async def prices_of_coins(exchange: ExchangePort, coins: Collection[str], market: Market) -> Mapping[str, Decimal]:
    """Price in quote of each coin that is neither the market's base nor its quote.

    A coin without a price is valued at 0: its amount is booked, and one missing price holds up no fill.
    """
    prices: dict[str, Decimal] = {}
    for coin in sorted(set(coins) - {market.base, market.quote}):
        try:
            prices[coin] = (await exchange.ticker(f"{coin}/{market.quote}")).last
        except ExchangeError as error:
            log.error("a fee's coin has no price; valued at 0", extra={"coin": coin, "error": str(error)})
            prices[coin] = ZERO
    return prices
