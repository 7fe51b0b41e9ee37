"""Binance spot."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tasks.base.money import dec
from tasks.exchange.models import PriceBand, Side
from tasks.exchange.venues.pages import ByDay, Forward, ListCall
from tasks.exchange.venues.signed import CcxtClientBase
from tasks.exchange.venues.venue import FeeCall, Headers, KeyRights, LimitsLeft, RateLimits, Venue, recv_window

_WEIGHT_A_MINUTE = 6000  # of one IP address
_ORDERS_IN_10_S = 100  # of one account
_TICKER_WEIGHTS = ((20, 2), (100, 40), (float("inf"), 80))  # (most symbols named, weight)
_COST_OF_WEIGHT = 0.2  # ccxt's unit is 50 ms, of which Binance allows 1200 in a minute for a weight of 6000


class BinanceMethods(CcxtClientBase):
    """What differs from ccxt's client: the cost of tickers of some symbols, which ccxt takes for all symbols."""

    def calculate_rate_limiter_cost(self, api: Any, method: Any, path: Any, params: Any, config: Any = None) -> Any:
        """ccxt's cost; for `ticker/24hr` with a list of symbols by its length, as Binance documents it."""
        if path == "ticker/24hr" and "symbols" in params:
            named = len(json.loads(params["symbols"]))
            weight = next(weight for most, weight in _TICKER_WEIGHTS if named <= most)
            return weight * _COST_OF_WEIGHT
        return super().calculate_rate_limiter_cost(api, method, path, params, config or {})


_ARCHIVED = re.compile(r'"code"\s*:\s*-2026\b')


def says_archived(error: str) -> bool:
    """Code -2026: the order was cancelled or expired without a fill more than 90 days ago."""
    return _ARCHIVED.search(error) is not None


def limits_left(headers: Headers) -> LimitsLeft:
    """From Binance's counters of what was used."""
    return LimitsLeft(
        account=_share_left(headers.get("x-mbx-order-count-10s"), _ORDERS_IN_10_S),
        address=_share_left(headers.get("x-mbx-used-weight-1m"), _WEIGHT_A_MINUTE),
    )


def _share_left(used: str | None, limit: int) -> float | None:
    return max(1 - int(used) / limit, 0) if used and used.isdigit() else None


_SIDE_PREFIX = {Side.BUY: "bid", Side.SELL: "ask"}


def _filters(listed: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A market's filters by type, from its listing (ccxt's `info`)."""
    return {str(one.get("filterType")): one for one in listed.get("filters") or [] if isinstance(one, Mapping)}


def listed_max_orders(listed: Mapping[str, Any]) -> int | None:
    """Open orders that the account may have in the market: the filter MAX_NUM_ORDERS."""
    found = _filters(listed).get("MAX_NUM_ORDERS")
    return int(found["maxNumOrders"]) if found else None


def price_bands(listed: Mapping[str, Any]) -> dict[Side, PriceBand]:
    """How far from the average price orders may be, from a market's listing (ccxt's `info`).

    Source: Binance, "Filters". PERCENT_PRICE_BY_SIDE has multipliers for each side, PERCENT_PRICE one pair for both.
    """
    filters = _filters(listed)
    by_side, both = filters.get("PERCENT_PRICE_BY_SIDE"), filters.get("PERCENT_PRICE")
    bands = {side: PriceBand() for side in Side}
    for side, prefix in _SIDE_PREFIX.items():
        if by_side is not None:
            least, most = by_side[f"{prefix}MultiplierDown"], by_side[f"{prefix}MultiplierUp"]
        elif both is not None:
            least, most = both["multiplierDown"], both["multiplierUp"]
        else:
            continue
        bands[side] = PriceBand(least=dec(least), most=dec(most))
    return bands


def may_withdraw(answer: Mapping[str, Any]) -> bool:
    """From Binance's API restrictions of the key."""
    return bool(answer.get("enableWithdrawals"))


VENUE = Venue(
    exchange_id="binance",
    validity=recv_window,
    refuses_stale_orders=True,
    credentials=("api_key", "secret"),
    sandbox_hosts=frozenset({"testnet.binance.vision"}),
    host="api.binance.com",
    key_rights=KeyRights("sapi_get_account_apirestrictions", may_withdraw),
    rate_limits=RateLimits(address_window_ms=60_000, account_window_ms=10_000, order_ms=10_000 / _ORDERS_IN_10_S),
    client_methods=BinanceMethods,
    client_options={"fetchOpenOrders": {"warnWithoutSymbol": False}},  # a call for all symbols is meant
    all_symbols_from=14,
    all_orders=(ListCall("fetch_orders", Forward(1000, "orderId")),),
    trades=(ListCall("fetch_my_trades", ByDay(1000, "fromId")),),
    price_bands=price_bands,
    max_orders=200,
    listed_max_orders=listed_max_orders,
    says_archived=says_archived,
    limits_left=limits_left,
    account_fees=FeeCall.ALL,  # without the discount for fees in BNB
)
