"""Every field of the settings with its unit, bounds and meaning. The rules between fields are in `checks`.

A field of type SecretStr is a secret: no log, error, file or record shows its value. `secret_values` finds them.
"""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from tasks.base.money import MAX_QUOTE
from tasks.settings.alerts import AlertSettings
from tasks.settings.grids import AnySymbol, GeometricSettings, StartMode
from tasks.settings.section import Fee, Section, Share
from tasks.settings.text_rules import (
    checked_api_url,
    checked_database_url,
    checked_network,
    checked_redis_url,
    matches,
)


class AllocationStrategy(StrEnum):
    """How the pool is shared between symbols."""

    EQUAL = "equal"
    WEIGHTED = "weighted"
    DYNAMIC = "dynamic"


class ExchangeSettings(Section):
    """The exchange and the keys for it."""

    id: Annotated[str, matches(r"[a-z0-9]{2,30}", "must be 2 to 30 of a-z and 0-9")] = Field(
        "binance",
        description="ccxt id of the exchange, 2-30 of a-z 0-9; also where paper trading takes its live prices from",
    )
    api_key: SecretStr | None = Field(None, description="API key")
    secret: SecretStr | None = Field(None, description="API secret")
    password: SecretStr | None = Field(None, description="API pass phrase, where the exchange wants one (OKX)")
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
    """Paper trading: where its prices come from, and in which currency it takes fees."""

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
        300, description="seconds one grid-tick flow run lasts, 10 to 3600"
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
    status_seconds: Annotated[int, Field(ge=60, le=86_400)] = Field(
        300, description="seconds between two status runs, which log and audit the account, 60 to 86400"
    )
    stale_price_seconds: Annotated[Decimal, Field(ge=5, le=3600)] = Field(
        Decimal(60), description="no buys on a price older than this, in seconds, 5 to 3600"
    )

    @property
    def protection_ms(self) -> int:
        """`protection_seconds` in ms."""
        return int(self.protection_seconds * 1000)


_KeptDays = Annotated[int, Field(ge=0, le=36_500)]


class HistorySettings(Section):
    """The durable record of all that happened."""

    outbox_mb: Annotated[int, Field(ge=1, le=65_536)] = Field(
        256,
        description="MB that records may take in Redis while the database is away, 1 to 65536; no new buys beyond it",
    )
    trades_days: _KeptDays = Field(
        0, description="days that trades, rounds and ended orders are kept, 0 (for ever) to 36500"
    )
    events_days: _KeptDays = Field(90, description="days that events are kept, 0 (for ever) to 36500")
    blocked_days: _KeptDays = Field(365, description="days that refusals are kept, 0 (for ever) to 36500")
    order_changes_days: _KeptDays = Field(
        365, description="days that the changes of orders are kept, 0 (for ever) to 36500"
    )
    symbol_minutes_days: _KeptDays = Field(
        30, description="days that a symbol's equity is kept by the minute, 0 (for ever) to 36500; then by the hour"
    )


class LogSettings(Section):
    """What a process writes to its log file, and how much of it is kept."""

    level: Literal["debug", "info", "warning"] = Field(
        "info", description="debug, info or warning: the least that is written to the log file and the terminal"
    )
    file_mb: Annotated[int, Field(ge=1, le=1024)] = Field(
        10, description="MB of a log file, 1 to 1024; then a new one begins"
    )
    files: Annotated[int, Field(ge=1, le=100)] = Field(5, description="log files that are kept of a process, 1 to 100")


_Host = Annotated[
    str,
    matches(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:]{2,45}", "must be a host name or address, without port"),
]
_Network = Annotated[str, AfterValidator(checked_network)]


class DashboardSettings(Section):
    """The dashboard and its HTTP API."""

    password: Annotated[SecretStr, Field(min_length=8)] | None = Field(
        None, description="password of the API and the pages, 8 characters or more; absent: one is made at first start"
    )
    token_secret: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="what signs tokens, 32 characters or more; absent: one is made at first start"
    )
    token_hours: Annotated[Decimal, Field(gt=0, le=8760)] = Field(
        Decimal(12), description="hours that a token lasts, above 0 to 8760"
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000)] = Field(
        600, description="requests that one client may send to the API in a minute, 1 to 100000"
    )
    public_metrics: bool = Field(True, description="true or false: /metrics needs no token")
    sign_in: Literal["auto", "always"] = Field(
        "auto",
        description="auto or always: always asks for the password on this machine too; elsewhere both do",
    )
    hosts: tuple[_Host, ...] = Field(
        (),
        description="names and addresses, beside those of this machine, that browsers may reach the dashboard by",
        examples=[["grid.example.org"]],
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file of the certificate that `gridflow dashboard` serves HTTPS with, and its chain",
        examples=["/etc/gridflow/certificate.pem"],
    )
    tls_key: Path | None = Field(
        None, description="PEM file of the certificate's private key", examples=["/etc/gridflow/key.pem"]
    )
    trusted_proxies: tuple[_Network, ...] = Field(
        (),
        description="addresses or networks of proxies with TLS in front of the dashboard, on other machines; "
        "what they say of the client counts",
        examples=[["10.0.0.5"]],
    )
    url: Annotated[str, AfterValidator(checked_api_url)] | None = Field(
        None,
        description="URL of the dashboard, for links in the Prefect UI; absent: that of the one-machine stack",
        examples=["http://127.0.0.1:8501"],
    )


_Account = Annotated[str, matches(r"[a-z0-9][a-z0-9-]{0,15}", "must be 1 to 16 of a-z, 0-9 and -, not - first")]


def _default_symbols() -> dict[str, AnySymbol]:
    default = GeometricSettings(range_pct=Decimal("0.04"), cells=20, start=StartMode.BALANCED)
    return dict.fromkeys(("BTC/USDT", "ETH/USDT", "BNB/USDT"), default)


class Settings(Section):
    """Everything a user can set."""

    account: _Account = Field("main", description="name of the pot; every Redis key carries it; 1-16 of a-z 0-9 -")
    quote: Annotated[str, matches(r"[A-Z0-9]{1,10}", "must be 1 to 10 of A-Z and 0-9")] = Field(
        "USDT", description="quote currency, 1-10 of A-Z 0-9"
    )
    total_funds: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] = Field(
        Decimal(10_000), description="the pot, in quote, above 0 to 90000000"
    )
    global_max_usage: Share = Field(
        Decimal("0.95"), description="share of the capital (total_funds and what was invested) used, above 0 to 1"
    )
    reinvest: bool = Field(
        False, description="true or false: realised profit and loss change the pool, at each scheduled rebalance"
    )
    allocation_strategy: AllocationStrategy = Field(
        AllocationStrategy.DYNAMIC, description="how symbols share the pot: equal, weighted or dynamic"
    )
    dynamic_step: Share = Field(
        Decimal("0.25"),
        description="share of the way to the target that a scheduled dynamic rebalance goes, above 0 to 1",
    )
    resize_tolerance: Annotated[Decimal, Field(ge=0, le=1)] = Field(
        Decimal("0.1"),
        description="relative difference beyond which a resting buy is replaced and an allocation is changed, 0 to 1",
    )
    daily_loss_quote: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None,
        description="no new buys once the account has lost this much since 00:00 UTC, in quote, above 0 to 90000000, "
        "until gridflow resume",
        examples=["300"],
    )
    sole_account: bool = Field(
        False,
        description="true or false: this pot alone trades on the exchange account, so a rebuild may take order "
        "ids of the form used before account tags",
    )
    exchange: ExchangeSettings = ExchangeSettings()
    paper: PaperSettings = PaperSettings()
    trading: TradingSettings = TradingSettings()
    symbols: dict[str, AnySymbol] = Field(
        default_factory=_default_symbols, description="the symbols to trade, 1 to 500, by ccxt name"
    )
    live: bool = Field(False, description="consent to real orders; set by --live, never in the file")
    redis_url: Annotated[SecretStr, AfterValidator(checked_redis_url)] | None = Field(
        None,
        description="your own Redis, redis://, rediss:// or unix://; absent: the one-machine stack's Valkey; "
        "it may hold a password",
    )
    redis_risk: Literal["refused", "accepted"] = Field(
        "refused",
        description="refused or accepted: real orders on a Redis that may lose records, because it has no append-only "
        "file or may evict keys",
    )
    database_url: Annotated[SecretStr, AfterValidator(checked_database_url)] | None = Field(
        None,
        description="database of the history, postgresql+asyncpg://user:password@host/name or "
        "sqlite+aiosqlite:///path; absent: history.db in the state folder; several hosts need PostgreSQL",
    )
    history: HistorySettings = HistorySettings()
    alerts: AlertSettings = AlertSettings()
    logs: LogSettings = LogSettings()
    dashboard: DashboardSettings = DashboardSettings()
