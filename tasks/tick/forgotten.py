"""Symbols that Redis forgot when it went back, and whose base lies on the account."""

from collections.abc import Collection, Sequence

from tasks.base.errors import UnknownSymbol
from tasks.exchange.order_ids import own_order_id
from tasks.orders.rules import TRADE_OVERLAP_MS
from tasks.tick.desk import Desk
from tasks.tick.listing import is_listed
from tasks.tick.models import TickReport


async def forgotten_with_base(desk: Desk, known: Collection[str]) -> list[str]:
    """Symbols, other than `known`, of coins on the account, whose orders of ours all came after Redis's newest tick.

    Base that an older order bought is the account's own by now. One request, and one for each coin.
    """
    since_ms = await _newest_tick_ms(desk, sorted(known)) - TRADE_OVERLAP_MS
    balances, quote = await desk.exchange.balances(), desk.settings.quote
    coins = sorted(coin for coin, one in balances.items() if coin != quote and one.free + one.locked > 0)
    others = [symbol for coin in coins if (symbol := f"{coin}/{quote}") not in known]
    return [symbol for symbol in others if await _began_after(desk, symbol, since_ms)]


async def _newest_tick_ms(desk: Desk, symbols: Sequence[str]) -> int:
    texts = await desk.redis.mget([desk.keys.last_tick(symbol) for symbol in symbols]) if symbols else []
    return max((TickReport.model_validate_json(text).at_ms for text in texts if text), default=0)


async def _began_after(desk: Desk, symbol: str, since_ms: int) -> bool:
    """Whether the exchange lists the symbol and orders of ours in it, none from before `since_ms`."""
    if not await is_listed(desk, symbol):
        return False
    try:
        orders = await desk.exchange.orders(symbol)
    except UnknownSymbol:  # delisted since this process read the markets
        return False
    ours = [order.at_ms for order in orders if own_order_id(order.client_id, desk.keys.account) is not None]
    return bool(ours) and min(ours) >= since_ms
