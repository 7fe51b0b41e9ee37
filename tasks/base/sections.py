"""The sections of the settings: every field with its unit, bounds and meaning. Rules between fields: `cross_checks`."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from tasks.base.forms import checked_api_url, form
from tasks.base.money import MAX_QUOTE

Share = Annotated[Decimal, Field(gt=0, le=1)]
Price = Annotated[Decimal, Field(gt=0)]
Fee = Annotated[Decimal, Field(ge=0, lt=Decimal("0.1"))]


class AllocationStrategy(StrEnum):
    """How the pool is shared between symbols."""

    EQUAL = "equal"
    WEIGHTED = "weighted"
    DYNAMIC = "dynamic"


class GridKind(StrEnum):
    """How levels are spaced: by equal differences or by equal ratios."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class StartMode(StrEnum):
    """`flat` buys nothing at once; `balanced` first buys the base for the cells above the price."""

    FLAT = "flat"
    BALANCED = "balanced"


class Section(BaseModel):
    """Unknown keys are refused, and an error's text holds no value: it may be a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class ExchangeSettings(Section):
    """Which exchange, and the right to use it."""

    id: Annotated[str, form(r"[a-z0-9]{2,30}", "must be 2 to 30 of a-z and 0-9")] = Field(
        "binance",
        description="ccxt id of the exchange, 2-30 of a-z 0-9; also where paper trading takes its live prices from",
    )
    api_key: SecretStr | None = Field(None, description="API key; keep it in GRIDFLOW_EXCHANGE__API_KEY")
    secret: SecretStr | None = Field(None, description="API secret; keep it in GRIDFLOW_EXCHANGE__SECRET")
    password: SecretStr | None = Field(
        None, description="API pass phrase, where the exchange wants one (OKX); keep it in GRIDFLOW_EXCHANGE__PASSWORD"
    )
    sandbox: bool = Field(
        False, description="true or false: use the exchange's test net; refused for real orders where it has none"
    )
    api_url: Annotated[str, AfterValidator(checked_api_url)] | None = Field(
        None,
        description="base URL instead of the exchange's own (test net, proxy): http(s)://host, no user or password",
        examples=["https://testnet.binance.vision"],
    )
    live: bool = Field(False, description="true or false: real orders; needs true here AND --live on the command line")
    maker_fee: Fee = Field(Decimal("0.001"), description="share of notional, 0 to below 0.1; used to check the grid")
    taker_fee: Fee = Field(Decimal("0.001"), description="share of notional, 0 to below 0.1; used to reserve money")


class PaperSettings(Section):
    """Paper trading: where prices come from and what the paper account holds."""

    market: Literal["auto", "live", "replay", "synthetic"] = Field(
        "auto",
        description="auto, live, replay or synthetic prices; auto = live where reachable within 5 s, else synthetic",
    )
    data: Path | None = Field(
        None, description="folder of candle files (csv, csv.gz, parquet) for replay", examples=["candles"]
    )
    speed: Annotated[Decimal, Field(gt=0, le=100_000)] = Field(
        Decimal(1), description="market minutes per real minute, above 0 to 100000; live prices ignore it"
    )
    seed: Annotated[int, Field(ge=0)] = Field(7, description="seed of the synthetic market, 0 or more")
    fee_currency: Literal["quote", "base"] = Field(
        "quote", description="quote: all fees in quote; base: a buy's fee in base"
    )


class TradingSettings(Section):
    """How often and how long a symbol is ticked. All in seconds."""

    window_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        60, description="seconds one grid-tick flow run lasts, 10 to 3600"
    )
    tick_min_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Field(
        Decimal(2), description="shortest time between ticks in seconds, 0.1 to 60"
    )
    tick_max_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=300)] = Field(
        Decimal(30), description="longest time between ticks in seconds, 0.1 to 300, not below tick_min_seconds"
    )
    lease_seconds: Annotated[Decimal, Field(ge=1, le=120)] = Field(
        Decimal(10), description="seconds the right to tick lasts without renewal, 1 to 120"
    )
    request_valid_seconds: Annotated[Decimal, Field(ge=Decimal("0.2"), le=60)] = Field(
        Decimal(5), description="the exchange refuses an order request older than this, in seconds, 0.2 to 60"
    )
    protection_seconds: Annotated[Decimal, Field(ge=Decimal("0.5"), le=300)] = Field(
        Decimal(15),
        description="an order without a trace is declared never placed after this, in seconds, 0.5 to 300, "
        "above request_valid_seconds",
    )
    stale_price_seconds: Annotated[Decimal, Field(ge=5, le=3600)] = Field(
        Decimal(60), description="no buys on a price older than this, in seconds, 5 to 3600"
    )


class SymbolSettings(Section):
    """One symbol's grid, size and limits."""

    grid: GridKind = Field(GridKind.ARITHMETIC, description="level spacing: arithmetic or geometric")
    lower: Price | None = Field(None, description="lowest level, quote per base, above 0", examples=["39000"])
    upper: Price | None = Field(
        None, description="highest level, quote per base, above 0 and above lower", examples=["48000"]
    )
    range_pct: Annotated[Decimal, Field(gt=0, lt=1)] | None = Field(
        None,
        description="instead of lower and upper: share on either side of the first price, above 0, below 1",
        examples=["0.04"],
    )
    cells: Annotated[int, Field(ge=1, le=500)] = Field(20, description="number of cells between levels, 1 to 500")
    quote_per_cell: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None,
        description="quote spent per cell, above 0 to 90000000; absent: the symbol's allocation divided by its cells",
        examples=["150"],
    )
    base_per_cell: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="base bought per cell, above 0; instead of quote_per_cell", examples=["0.003"]
    )
    start: StartMode = Field(
        StartMode.FLAT,
        description="flat buys nothing at once; balanced first buys the base for the cells above the price",
    )
    max_usage_pct: Share = Field(Decimal(1), description="cap: share of total_funds, above 0 to 1")
    weight: Annotated[Decimal, Field(ge=0, le=1000)] = Field(
        Decimal(1), description="share under the weighted strategy, 0 to 1000"
    )
