"""Evidence for the journal: what the exchange shows of each journalled order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from tasks.base.errors import ExchangeError, ExchangeUnavailable, UnknownSymbol
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, Trade
from tasks.exchange.port import ExchangePort
from tasks.orders.models import Evidence, Intent
from tasks.orders.rules import (
    MAX_LOOKUPS,
    may_have_changed,
    needs_lookup,
    own_trades,
    possible_orders,
    resting_orders,
    trades_since,
)

log = logging.getLogger(__name__)
BookedTrades = Callable[[Sequence[str]], Awaitable[Collection[str]]]


async def gather_evidence(
    exchange: ExchangePort,
    symbol: str,
    intents: Sequence[Intent],
    open_orders: Sequence[Order],
    cursor_ms: int,
    booked: BookedTrades,
) -> dict[str, Evidence]:
    """Evidence by client id, with as few calls as possible. Raises ExchangeError.

    Where no order can have changed, no call is made. Else the trades are read once, and an order is looked up only
    where they do not settle it. Read the open orders first: a fill between the two reads then shows in the trades.
    `booked` gives the trades already in the books; their orders cannot be one that was not found.
    """
    resting = resting_orders(intents, open_orders)
    changed = [intent for intent in intents if may_have_changed(intent, resting[intent.client_id])]
    trades: list[Trade] = []
    if changed:
        trades = await exchange.trades(symbol, trades_since(changed, cursor_ms))
    to_look_up = [intent for intent in changed if needs_lookup(intent, resting[intent.client_id], trades)]
    looked_up = await _look_up(exchange, symbol, intents, to_look_up, trades, booked)
    evidence = {}
    for intent in intents:
        client_id = intent.client_id
        order = resting[client_id] or looked_up.get(client_id)
        evidence[client_id] = Evidence(
            resting=resting[client_id],
            looked_up=client_id in looked_up,
            found=looked_up.get(client_id),
            trades=tuple(own_trades(intent, order.exchange_id if order else intent.exchange_id, trades)),
        )
    return evidence


async def _look_up(
    exchange: ExchangePort,
    symbol: str,
    intents: Sequence[Intent],
    to_look_up: Sequence[Intent],
    trades: Sequence[Trade],
    booked: BookedTrades,
) -> dict[str, Order | None]:
    """Orders by client id, None where there is none; an intent that stays in doubt is left out."""
    found = await asyncio.gather(
        *(exchange.order(symbol, intent.client_id, intent.exchange_id) for intent in to_look_up)
    )
    looked_up = {intent.client_id: order for intent, order in zip(to_look_up, found, strict=True)}
    not_found = [one for one in to_look_up if looked_up[one.client_id] is None and one.exchange_id is None]
    other_orders = {intent.exchange_id for intent in intents}
    if not_found and trades:
        in_books = await booked([trade.trade_id for trade in trades])
        other_orders |= {trade.exchange_id for trade in trades if trade.trade_id in in_books}
    for intent in not_found:
        candidates = possible_orders(intent, trades, other_orders)
        order = await _by_trades(exchange, intent, candidates[:MAX_LOOKUPS])
        if order is None and len(candidates) > MAX_LOOKUPS:
            # Not every candidate was looked up, so this is no proof that the order does not exist.
            del looked_up[intent.client_id]
        else:
            looked_up[intent.client_id] = order
    return looked_up


async def _by_trades(exchange: ExchangePort, intent: Intent, candidates: Sequence[str]) -> Order | None:
    """Find an order by the trades since its intent, where the exchange no longer knows its client id.

    An exchange may free the client id of an order that filled at once. Its trades still carry the exchange id.
    """
    for exchange_id in candidates:
        order = await exchange.order(intent.symbol, intent.client_id, exchange_id)
        if order is not None and order.client_id == intent.client_id:
            return order
    return None


async def third_coin_prices(
    exchange: ExchangePort, evidence: Mapping[str, Evidence], market: Market, pending: Iterable[str] = ()
) -> Mapping[str, Decimal]:
    """Price in quote of every third coin that fees of our orders were paid in; empty in the usual case.

    `pending`: coins of fees whose worth is not booked yet. A coin whose price cannot be read now is left out.
    """
    paid = {trade.fee_currency for one in evidence.values() for trade in one.trades if trade.fee}
    return await prices_of_coins(exchange, paid | set(pending), market)


async def prices_of_coins(exchange: ExchangePort, coins: Collection[str], market: Market) -> Mapping[str, Decimal]:
    """Price in quote of each coin that is neither the market's base nor its quote; 0 where it has no market.

    A coin whose price cannot be read now is left out, so that it does not delay the booking of fills.
    """
    prices: dict[str, Decimal] = {}
    for coin in sorted(set(coins) - {market.base, market.quote}):
        try:
            prices[coin] = (await exchange.ticker(f"{coin}/{market.quote}")).last
        except UnknownSymbol:
            log.error("fee coin has no market; valued at 0", extra={"coin": coin})
            prices[coin] = ZERO
        except ExchangeError as error:
            log.warning("fee coin has no price now; valued later", extra={"coin": coin, "error": str(error)})
    return prices


async def prices_of_all(exchange: ExchangePort, coins: Collection[str], market: Market) -> Mapping[str, Decimal]:
    """As `prices_of_coins`, but raises ExchangeUnavailable where a price cannot be read now."""
    prices = await prices_of_coins(exchange, coins, market)
    missing = sorted(set(coins) - {market.base, market.quote} - prices.keys())
    if missing:
        raise ExchangeUnavailable(f"{market.symbol}: no price of the fee coin {', '.join(missing)}; it is tried again")
    return prices
