"""Evidence for the journal: what the exchange shows of each journalled order."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from tasks.base.errors import ExchangeError, ExchangeUnavailable, OrderArchived, UnknownSymbol
from tasks.base.money import ZERO
from tasks.exchange.models import Market, Order, Trade
from tasks.exchange.order_ids import own_order_id
from tasks.exchange.port import ExchangePort
from tasks.orders.models import Evidence, Intent
from tasks.orders.rules import (
    MAX_LOOKUPS,
    ended_unfilled,
    lookup_order,
    may_have_changed,
    needs_lookup,
    own_trades,
    possible_orders,
    resting_orders,
    settled_lookups,
    trades_since,
    unexplained_orders,
)

log = logging.getLogger(__name__)


class TradeMemory(Protocol):
    """Which trades need no look any more: those in the books, and those of orders that are not ours."""

    async def unknown(self, trades: Sequence[Trade]) -> list[Trade]:
        """The trades that are neither in the books nor of an order noted as not ours."""

    async def note_others(self, exchange_ids: Collection[str]) -> None:
        """Remember orders (exchange ids) that are not ours, so that they are not looked up again."""


class Gathered(NamedTuple):
    """What the exchange showed. `evidence`: by client id. `orphans`: orders of ours that the journal does not have.

    `orphans` are those that unexplained trades led to; the caller checks whether their trades are in the books.
    """

    evidence: dict[str, Evidence]
    orphans: list[Order]


async def gather_evidence(
    exchange: ExchangePort,
    symbol: str,
    intents: Sequence[Intent],
    open_orders: Sequence[Order],
    cursor_ms: int,
    memory: TradeMemory,
    account: str,
    valid_ms: int,
) -> Gathered:
    """What the exchange shows of each order, with as few calls as possible. Raises ExchangeError.

    Where no order can have changed, no call is made. Else the trades are read once, and an order is looked up only
    where they do not settle it. Read the open orders first: a fill between the two reads then shows in the trades.
    Trades that nothing explains lead to their orders: each is looked up once, at most MAX_LOOKUPS in one tick. A lookup
    that fails leaves its order as it is until the next tick. `valid_ms`: how long a request to place is good for.
    """
    resting = resting_orders(intents, open_orders)
    changed = [intent for intent in intents if may_have_changed(intent, resting[intent.client_id])]
    trades: list[Trade] = []
    if changed:
        trades = await exchange.trades(symbol, trades_since(changed, cursor_ms))
    to_look_up = [intent for intent in changed if needs_lookup(intent, resting[intent.client_id], trades)]
    looked_up = await _by_client_id(exchange, to_look_up)
    unexplained = unexplained_orders(intents, [*open_orders, *looked_up.values()], trades, account)
    unknown = await memory.unknown(unexplained) if unexplained else []
    doubtful = [one for one in to_look_up if one.exchange_id is None and looked_up.get(one.client_id, one) is None]
    of_unknown = [trade for trade in trades if trade.exchange_id in {one.exchange_id for one in unknown}]
    candidates = {one.client_id: possible_orders(one, of_unknown, valid_ms) for one in doubtful}
    answers = await _by_exchange_id(exchange, symbol, lookup_order(candidates.values(), unknown)[:MAX_LOOKUPS])
    ours = {name: one for name, one in answers.items() if one and own_order_id(one.client_id, account)}
    others = [name for name, one in answers.items() if one and name not in ours]
    if others:
        await memory.note_others(others)
    looked_up = settled_lookups(looked_up, candidates, answers)
    journal = {intent.client_id for intent in intents}
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
    return Gathered(evidence, [one for one in ours.values() if one.client_id not in journal])


async def _by_client_id(exchange: ExchangePort, intents: Sequence[Intent]) -> dict[str, Order | None]:
    """Each intent's order, None where there is none; by client id. A lookup that fails is left out."""
    found = await asyncio.gather(*(_look_up(exchange, one.symbol, one.client_id, one.exchange_id) for one in intents))
    answers = {intent.client_id: answer for intent, answer in zip(intents, found, strict=True)}
    archived = {intent.client_id: ended_unfilled(intent) for intent in intents}
    return {
        name: archived[name] if isinstance(answer, OrderArchived) else answer
        for name, answer in answers.items()
        if answer is None or isinstance(answer, (Order, OrderArchived))
    }


async def _by_exchange_id(exchange: ExchangePort, symbol: str, exchange_ids: Sequence[str]) -> dict[str, Order | None]:
    """Orders by exchange id; None where the exchange does not know it. A lookup that fails is left out."""
    found = await asyncio.gather(*(_look_up(exchange, symbol, "", one) for one in exchange_ids))
    pairs = zip(exchange_ids, found, strict=True)
    return {name: answer for name, answer in pairs if answer is None or isinstance(answer, Order)}


async def _look_up(
    exchange: ExchangePort, symbol: str, client_id: str, exchange_id: str | None
) -> Order | ExchangeError | None:
    """The order, None where there is none, or why it could not be read: one failed lookup does not fail a tick."""
    try:
        return await exchange.order(symbol, client_id, exchange_id)
    except ExchangeError as error:
        if not isinstance(error, OrderArchived):
            facts = {"symbol": symbol, "order": client_id or exchange_id, "error": str(error)}
            log.warning("order lookup failed; the next tick tries again", extra=facts)
        return error


async def look_up_orders(exchange: ExchangePort, symbol: str, exchange_ids: Sequence[str]) -> list[Order]:
    """The orders that the exchange knows; a lookup that fails is left out."""
    answers = await _by_exchange_id(exchange, symbol, exchange_ids)
    return [order for order in answers.values() if order is not None]


async def third_coin_prices(
    exchange: ExchangePort, evidence: Mapping[str, Evidence], market: Market, pending: Iterable[str] = ()
) -> Mapping[str, Decimal]:
    """Price in quote of every third coin that fees of our orders were paid in; empty in the usual case.

    `pending`: coins of fees whose worth is not booked yet. A coin whose price cannot be read now is left out.
    """
    paid = {trade.fee_currency for one in evidence.values() for trade in one.trades if trade.fee}
    return await prices_of_coins(exchange, paid | set(pending), market.symbol)


async def prices_of_coins(exchange: ExchangePort, coins: Collection[str], symbol: str) -> Mapping[str, Decimal]:
    """Price in quote of each coin that is neither the symbol's base nor its quote; 0 where it has no market.

    A coin whose price cannot be read now is left out, so that it does not delay the booking of fills.
    """
    prices: dict[str, Decimal] = {}
    base, quote = symbol.split("/")
    for coin in sorted(set(coins) - {base, quote}):
        try:
            prices[coin] = (await exchange.ticker(f"{coin}/{quote}")).last
        except UnknownSymbol:
            log.error("fee coin has no market; valued at 0", extra={"coin": coin})
            prices[coin] = ZERO
        except ExchangeError as error:
            log.warning("fee coin has no price now; valued later", extra={"coin": coin, "error": str(error)})
    return prices


async def prices_of_all(exchange: ExchangePort, coins: Collection[str], symbol: str) -> Mapping[str, Decimal]:
    """As `prices_of_coins`, but raises ExchangeUnavailable where a price cannot be read now."""
    prices = await prices_of_coins(exchange, coins, symbol)
    missing = sorted(set(coins) - set(symbol.split("/")) - prices.keys())
    if missing:
        raise ExchangeUnavailable(f"{symbol}: no price of the fee coin {', '.join(missing)}; it is tried again")
    return prices
