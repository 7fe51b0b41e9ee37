"""What Gridflow has to know about one exchange. Pure.

To add an exchange, write `<exchange>.py` with one `Venue` in it and list it in `registry.py`. `bybit.py` is a good
file to copy. An exchange that is not listed can be traded on paper only.

| A venue MUST give | what it is |
|---|---|
| `exchange_id` | ccxt's id of the exchange |
| `validity` | (time signed, ms valid) → params of an order request that make the exchange refuse it once it is stale |
| `refuses_stale_orders` | whether a test has shown that `validity` works; no real order goes there without it |
| `credentials` | the settings it needs: `api_key`, `secret`, `password` |
| `sandbox_hosts` | host names of its sandbox; empty: it has none |
| `rate_limits` | how many requests it allows, see `RateLimits` |

| A venue MAY give | default |
|---|---|
| `client_methods`: a class whose methods replace those of ccxt's client | ccxt's client as it is |
| `client_options`: ccxt options of its client | none |
| `encode_order_id`, `decode_order_id`: our client order id → its form there, and back | as it is |
| `batch_orders`: ccxt's calls for many orders at once work for spot there | false: one request per order |
| `all_symbols_from`: from so many symbols on, one request for all open orders is cheaper than one per symbol | 2 |
| `orders_and_ticker`: a method of its client that reads open orders and ticker in one request | two requests |
| `open_orders`: the list of open orders | one page of `fetch_open_orders` |
| `all_orders`: the lists that together hold every order; a later list overrides an earlier one | `fetch_orders` |
| `trades`: the lists that together hold every trade; likewise | `fetch_my_trades` |
| `recent_trades_ms`: the last list of `trades` alone is complete for this long | 0: all lists are needed |
| `keeps_ms`: for how long it lists ended orders and trades | for ever |
| `stops_at_gaps`: a list read to its beginning stops at a long gap older than all open orders | false |
| `price_bands`: a market's listing (ccxt's `info`) → how far from the market an order's price may be | no bound |
| `max_orders`: open orders that it allows in one symbol | no bound known |
| `listed_max_orders`: a market's listing (ccxt's `info`) → the same for that market | it does not say |
| `says_archived`: text of an error → whether an order ended long ago unfilled, without details | no error says so |
| `account_fees`: ccxt's call for the account's own fee rates, see `FeeCall` | none: the listed rates count |
| `limits_left`: response headers → shares of its limits that are left | unknown |
| `address_ban_seconds`: least time that a response bans our IP address by a rule of the venue's own | 0: it does not |
| `reset_seconds`: (headers, now) → seconds until it counts anew, where `Retry-After` is missing | unknown |
| `host`: host name of its API; a start looks it up before it asks the exchange anything | it asks at once |
| `key_rights`: how to read what a key may do, see `KeyRights` | not known |
| `missing_features`: what Gridflow needs and ccxt does not offer there | none |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tasks.exchange.models import PriceBand, Side
from tasks.exchange.venues.pages import Forward, ListCall, OnePage

Headers = Mapping[str, str]

_OPEN_ORDERS = ListCall("fetch_open_orders", OnePage())
_ALL_ORDERS = ListCall("fetch_orders", Forward(1000))
_TRADES = ListCall("fetch_my_trades", Forward(1000))


class FeeCall(StrEnum):
    """ccxt's call for the account's own fee rates: of all symbols at once, or of one."""

    ALL = "fetch_trading_fees"
    EACH = "fetch_trading_fee"


class KeyRights(NamedTuple):
    """ccxt's call that tells what the key may do, and whether its answer lets the key withdraw."""

    call: str
    may_withdraw: Callable[[Mapping[str, Any]], bool]


NEEDED_FEATURES = (
    "createOrder",
    "cancelOrder",
    "fetchOrder",
    "fetchOpenOrders",
    "fetchMyTrades",
    "fetchBalance",
    "fetchTicker",
    "fetchOHLCV",
)  # as ccxt's `has` names them


@dataclass(frozen=True)
class RateLimits:
    """What an exchange allows, in ms of its own time: ccxt's cost of a request × ccxt's `rateLimit` is its share.

    `address_window_ms`: requests from one IP address use up at most so much in any span of that length.
    `account_window_ms`: likewise for one account.
    `order_ms`: an account counts orders only, and each uses up so much; None: it counts every request.
    """

    address_window_ms: int = 2_000
    account_window_ms: int = 2_000
    order_ms: float | None = None


class LimitsLeft(NamedTuple):
    """Shares of the exchange's limits that are left, 0 to 1; None where the exchange does not say."""

    account: float | None = None
    address: float | None = None


@dataclass(frozen=True)
class Response:
    """One HTTP response. `throttled`: ccxt read it as "too many requests", whatever its status.

    `status` is 0 where there was no response. `headers` are by lower-case name. `now_ms`: when it came.
    """

    status: int
    headers: Headers
    body: str
    now_ms: int
    throttled: bool = False


def recv_window(signed_at_ms: int, valid_ms: int) -> dict[str, Any]:
    """Request validity as Binance and Bybit have it: a time stamp, and how long it is good for."""
    return {"timestamp": signed_at_ms, "recvWindow": valid_ms}


def _unchanged(text: str) -> str:
    return text


def _no_price_bands(_listed: Mapping[str, Any]) -> dict[Side, PriceBand]:
    return {side: PriceBand() for side in Side}


def _not_listed(_listed: Mapping[str, Any]) -> int | None:
    return None


def _never_archived(_error: str) -> bool:
    return False


def _limits_unknown(_headers: Headers) -> LimitsLeft:
    return LimitsLeft()


def _no_address_ban(_response: Response) -> float:
    return 0.0


def _reset_unknown(_headers: Headers, _now_ms: int) -> float | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Venue:
    """One exchange. The module's tables say what each field is."""

    exchange_id: str
    validity: Callable[[int, int], dict[str, Any]]
    refuses_stale_orders: bool
    credentials: tuple[str, ...]
    sandbox_hosts: frozenset[str]
    rate_limits: RateLimits

    client_methods: type = object
    client_options: Mapping[str, Any] = field(default_factory=dict)
    encode_order_id: Callable[[str], str] = _unchanged
    decode_order_id: Callable[[str], str] = _unchanged
    batch_orders: bool = False
    all_symbols_from: int = 2
    orders_and_ticker: str = ""
    open_orders: ListCall = _OPEN_ORDERS
    all_orders: tuple[ListCall, ...] = (_ALL_ORDERS,)
    trades: tuple[ListCall, ...] = (_TRADES,)
    recent_trades_ms: int = 0
    keeps_ms: int | None = None
    stops_at_gaps: bool = False
    price_bands: Callable[[Mapping[str, Any]], dict[Side, PriceBand]] = _no_price_bands
    max_orders: int | None = None
    listed_max_orders: Callable[[Mapping[str, Any]], int | None] = _not_listed
    says_archived: Callable[[str], bool] = _never_archived
    account_fees: FeeCall | None = None
    limits_left: Callable[[Headers], LimitsLeft] = _limits_unknown
    address_ban_seconds: Callable[[Response], float] = _no_address_ban
    reset_seconds: Callable[[Headers, int], float | None] = _reset_unknown
    host: str = ""
    key_rights: KeyRights | None = None
    missing_features: tuple[str, ...] = ()

    def trades_since(self, since_ms: int, now_ms: int) -> tuple[ListCall, ...]:
        """The lists that together hold every trade at or after `since_ms`."""
        return self.trades[-1:] if since_ms > now_ms - self.recent_trades_ms else self.trades


def unlisted_venue(exchange_id: str) -> Venue:
    """An exchange without a file of its own: for paper trading only. Its limits are a cautious guess."""
    return Venue(
        exchange_id=exchange_id,
        validity=recv_window,
        refuses_stale_orders=False,
        credentials=("api_key", "secret"),
        sandbox_hosts=frozenset(),
        rate_limits=RateLimits(),
    )
