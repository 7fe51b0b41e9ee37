"""What the exchange lists, holds and charges; every value may be changed while it runs."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tests.support.binance.errors import failed_filter

API_KEY = "test-api-key"
SECRET = "test-secret"  # of a loopback exchange in a test
DAY_MS = 86_400_000
Share = Annotated[float, Field(ge=0, le=1)]


class SymbolRules(BaseModel):
    """Filters of one symbol. Prices in quote, quantities in base."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    tick: Decimal = Decimal("0.01")
    step: Decimal = Decimal("0.00001")
    min_qty: Decimal = Decimal("0.00001")
    max_qty: Decimal = Decimal(9000)
    min_notional: Decimal = Decimal(5)
    percent_up: Decimal = Decimal(5)
    percent_down: Decimal = Decimal("0.2")
    max_orders: int = 200

    @property
    def id(self) -> str:
        """The exchange's own name: `BTCUSDT`."""
        return self.symbol.replace("/", "")

    @property
    def base(self) -> str:
        """Base asset."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """Quote asset."""
        return self.symbol.partition("/")[2]

    def check_qty(self, qty: Decimal) -> None:
        """Refuse a quantity outside LOT_SIZE."""
        if not self.min_qty <= qty <= self.max_qty or qty % self.step:
            raise failed_filter("LOT_SIZE")

    def check_price(self, price: Decimal, last: Decimal) -> None:
        """Refuse a price outside PRICE_FILTER or too far from the market."""
        if price <= 0 or price % self.tick:
            raise failed_filter("PRICE_FILTER")
        if not last * self.percent_down <= price <= last * self.percent_up:
            raise failed_filter("PERCENT_PRICE_BY_SIDE")

    def check_notional(self, price: Decimal, qty: Decimal) -> None:
        """Refuse an order worth too little."""
        if price * qty < self.min_notional:
            raise failed_filter("NOTIONAL")


DEFAULT_RULES = {
    rules.symbol: rules
    for rules in (
        SymbolRules(symbol="BTC/USDT"),
        SymbolRules(symbol="ETH/USDT", step=Decimal("0.0001"), min_qty=Decimal("0.0001")),
        SymbolRules(symbol="BNB/USDT", step=Decimal("0.001"), min_qty=Decimal("0.001")),
    )
}


class Config(BaseModel):
    """Account, fees, fills and limits of the exchange.

    `fee_currency`: `quote` on both sides; `base`: of what is received, as Binance charges; `BNB` where the account
    has enough of it and BNB is listed, else of what is received. `fill_parts`: trades per fill. `partial_share`: how
    much of the rest of a resting order fills when a candle reaches it, in `partial_chance` of the cases (seeded).
    `archive_ms`: how long an order that ended unfilled can be looked up.
    `time_reaches_ms`: how far trades that are asked for by `startTime` alone reach.
    `weight_limit` for the IP in each `weight_window_ms`; after `strikes` more requests over it the IP is banned for
    `ban_seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key: str = API_KEY
    secret: str = SECRET
    may_withdraw: bool = False
    balances: dict[str, Decimal] = {"USDT": Decimal(10_000)}
    symbols: dict[str, SymbolRules] = DEFAULT_RULES
    fee_currency: Literal["quote", "base", "BNB"] = "quote"
    maker_fee: Decimal = Decimal("0.001")
    taker_fee: Decimal = Decimal("0.001")
    fill_parts: Annotated[int, Field(ge=1)] = 1
    partial_share: Share = 1.0
    partial_chance: Share = 1.0
    seed: int = 1
    time_reaches_ms: int = DAY_MS
    archive_ms: Annotated[int, Field(ge=0)] = 90 * DAY_MS
    weight_limit: int = 6000
    weight_window_ms: Annotated[int, Field(ge=1000)] = 60_000
    orders_per_10s: int = 100
    strikes: int = 10
    ban_seconds: float = 120

    def changed(self, **changes: Any) -> "Config":
        """A checked copy with these fields changed."""
        return Config.model_validate(self.model_dump() | changes)
