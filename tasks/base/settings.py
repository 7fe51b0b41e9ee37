"""Settings: `gridflow.toml` and `GRIDFLOW_…` environment (nested by `__`; the environment wins).

This module is the only reader of the environment. Every field states its unit, bounds and meaning in its description.
`load` either returns settings that can run or raises one ConfigError that lists every problem.
"""

import os
import tomllib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import MAX_QUOTE
from tasks.base.problems import RuleBroken, problems_of

CONFIG_VARIABLE = "GRIDFLOW_CONFIG"
STATE_VARIABLE = "GRIDFLOW_STATE"
DEFAULT_CONFIG = Path("gridflow.toml")
DEFAULT_STATE = Path(".gridflow")

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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ExchangeSettings(_Section):
    """Which exchange, and the right to use it."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]{2,30}$")] = Field(
        "binance", description="ccxt id of the exchange; also where paper trading takes its live prices from"
    )
    api_key: SecretStr | None = Field(None, description="API key; keep it in GRIDFLOW_EXCHANGE__API_KEY")
    secret: SecretStr | None = Field(None, description="API secret; keep it in GRIDFLOW_EXCHANGE__SECRET")
    password: SecretStr | None = Field(None, description="API pass phrase, where the exchange wants one (OKX)")
    sandbox: bool = Field(False, description="use the exchange's test net; refused where it has none")
    api_url: str | None = Field(
        None, pattern=r"^https?://[^@\s]+$", description="base URL instead of the exchange's own (test net, proxy)"
    )
    live: bool = Field(False, description="real orders: needs true here AND --live on the command line")
    maker_fee: Fee = Field(Decimal("0.001"), description="share of notional, 0 to below 0.1; used to check the grid")
    taker_fee: Fee = Field(Decimal("0.001"), description="share of notional, 0 to below 0.1; used to reserve money")

    @model_validator(mode="after")
    def _live_needs_keys(self) -> "ExchangeSettings":
        missing = [name for name in ("api_key", "secret") if self.live and getattr(self, name) is None]
        if missing:
            raise RuleBroken(
                *(
                    Problem(name, "(not set)", "real orders need it", f"Set GRIDFLOW_EXCHANGE__{name.upper()}")
                    for name in missing
                )
            )
        return self


class PaperSettings(_Section):
    """Paper trading: where prices come from and what the paper account holds."""

    market: Literal["auto", "live", "replay", "synthetic"] = Field(
        "auto", description="price source; auto = live where reachable within 5 s, else synthetic"
    )
    data: Path | None = Field(None, description="folder of candle files (csv, csv.gz, parquet) for replay")
    speed: Annotated[Decimal, Field(gt=0, le=100_000)] = Field(
        Decimal(1), description="market minutes per real minute, above 0 to 100000; live prices ignore it"
    )
    seed: Annotated[int, Field(ge=0)] = Field(7, description="seed of the synthetic market, 0 or more")
    fee_currency: Literal["quote", "base"] = Field("quote", description="fees in quote, or a buy's fee in base")


class TradingSettings(_Section):
    """How often and how long a symbol is ticked. All in seconds."""

    window_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(60, description="length of one grid-tick flow run")
    tick_min_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Field(
        Decimal(2), description="shortest time between ticks, 0.1 to 60"
    )
    tick_max_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=300)] = Field(
        Decimal(30), description="longest time between ticks, 0.1 to 300"
    )
    lease_seconds: Annotated[Decimal, Field(ge=1, le=120)] = Field(
        Decimal(10), description="how long the right to tick lasts without renewal, 1 to 120"
    )
    request_valid_seconds: Annotated[Decimal, Field(ge=Decimal("0.2"), le=60)] = Field(
        Decimal(5), description="the exchange refuses an order request older than this, 0.2 to 60"
    )
    protection_seconds: Annotated[Decimal, Field(ge=Decimal("0.5"), le=300)] = Field(
        Decimal(15), description="an order without a trace is declared never placed after this, 0.5 to 300"
    )

    stale_price_seconds: Annotated[Decimal, Field(ge=5, le=3600)] = Field(
        Decimal(60), description="no buys on a price older than this, 5 to 3600"
    )

    @model_validator(mode="after")
    def _in_order(self) -> "TradingSettings":
        broken = []
        if self.tick_max_seconds < self.tick_min_seconds:
            broken.append(
                Problem(
                    "tick_max_seconds",
                    str(self.tick_max_seconds),
                    f"must not be below tick_min_seconds ({self.tick_min_seconds})",
                    "Raise it or lower tick_min_seconds",
                )
            )
        if self.protection_seconds <= self.request_valid_seconds:
            broken.append(
                Problem(
                    "protection_seconds",
                    str(self.protection_seconds),
                    f"must be above request_valid_seconds ({self.request_valid_seconds}): a request may not outlive it",
                    "Raise it or lower request_valid_seconds",
                )
            )
        if broken:
            raise RuleBroken(*broken)
        return self


class SymbolSettings(_Section):
    """One symbol's grid, size and limits."""

    grid: GridKind = Field(GridKind.ARITHMETIC, description="level spacing: arithmetic or geometric")
    lower: Price | None = Field(None, description="lowest level, quote per base, above 0")
    upper: Price | None = Field(None, description="highest level, quote per base, above lower")
    range_pct: Annotated[Decimal, Field(gt=0, lt=1)] | None = Field(
        None, description="instead of lower and upper: share on either side of the first price, above 0, below 1"
    )
    cells: Annotated[int, Field(ge=1, le=500)] = Field(20, description="number of cells, 1 to 500")
    quote_per_cell: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] | None = Field(
        None, description="quote spent per cell; absent: the symbol's allocation divided by its cells"
    )
    base_per_cell: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="base bought per cell, instead of quote_per_cell"
    )
    start: StartMode = Field(StartMode.FLAT, description="flat or balanced")
    max_usage_pct: Share = Field(Decimal(1), description="cap: share of total_funds, above 0 to 1")
    weight: Annotated[Decimal, Field(ge=0, le=1000)] = Field(
        Decimal(1), description="share under the weighted strategy, 0 to 1000"
    )

    @model_validator(mode="after")
    def _levels_make_sense(self) -> "SymbolSettings":
        broken = list(self._level_problems())
        if self.quote_per_cell is not None and self.base_per_cell is not None:
            broken.append(
                Problem("base_per_cell", str(self.base_per_cell), "only one cell size may be given", "Remove one")
            )
        if broken:
            raise RuleBroken(*broken)
        return self

    def _level_problems(self) -> list[Problem]:
        if self.range_pct is not None:
            if self.lower is None and self.upper is None:
                return []
            return [
                Problem(
                    "range_pct",
                    str(self.range_pct),
                    "cannot stand beside lower or upper",
                    "Keep range_pct, or lower and upper",
                )
            ]
        missing = [name for name in ("lower", "upper") if getattr(self, name) is None]
        if missing:
            remedy = "Give lower and upper, or range_pct"
            return [Problem(name, "(not set)", "a grid needs both ends", remedy) for name in missing]
        assert self.lower is not None
        assert self.upper is not None
        if self.lower >= self.upper:
            rule = f"levels out of order: upper must be above lower ({self.lower})"
            return [Problem("upper", str(self.upper), rule, "Swap or widen them")]
        return []


def _default_symbols() -> dict[str, SymbolSettings]:
    default = SymbolSettings(grid=GridKind.GEOMETRIC, range_pct=Decimal("0.04"), cells=20, start=StartMode.BALANCED)
    return dict.fromkeys(("BTC/USDT", "ETH/USDT", "BNB/USDT"), default)


class Settings(BaseSettings):
    """Everything a user can set."""

    model_config = SettingsConfigDict(
        env_prefix="GRIDFLOW_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    account: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,15}$")] = Field(
        "main", description="name of the pot; every Redis key carries it; 1-16 of a-z 0-9 -"
    )
    quote: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,10}$")] = Field("USDT", description="quote currency")
    total_funds: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] = Field(
        Decimal(10_000), description="the pot, in quote, above 0 to 90000000"
    )
    global_max_usage: Share = Field(Decimal("0.95"), description="share of total_funds that may be used, above 0 to 1")
    allocation_strategy: AllocationStrategy = Field(AllocationStrategy.EQUAL, description="equal, weighted or dynamic")
    exchange: ExchangeSettings = ExchangeSettings()
    paper: PaperSettings = PaperSettings()
    trading: TradingSettings = TradingSettings()
    symbols: Annotated[dict[str, SymbolSettings], Field(min_length=1, max_length=500)] = Field(
        default_factory=_default_symbols, description="the symbols to trade, by ccxt name"
    )
    live: bool = Field(False, description="consent to real orders; set by --live, never in the file")
    redis_url: SecretStr | None = Field(None, description="your own Redis; absent: the one-machine stack's Valkey")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first; what `load` passes in (the file) second."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _whole_makes_sense(self) -> "Settings":
        from tasks.base.cross_checks import cross_problems  # a check of finished settings, so it imports them

        broken = cross_problems(self)
        if broken:
            raise RuleBroken(*broken)
        return self


def _read_toml(path: Path) -> dict[str, Any]:
    def refuse(rule: str, remedy: str) -> ConfigError:
        return ConfigError([Problem("file", str(path), rule, remedy)], str(path))

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        raise refuse("no such file", "Write one with `gridflow init`, or name another with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(f"unreadable ({error})", "Make it a readable UTF-8 file") from None
    except tomllib.TOMLDecodeError as error:
        raise refuse(f"not valid TOML ({error})", "Mend that line; a table or key may stand only once") from None


def _unknown_variables(environ: dict[str, str]) -> list[Problem]:
    known = set(Settings.model_fields) | {"config", "state"}
    names = [name for name in environ if name.upper().startswith("GRIDFLOW_")]
    return [
        Problem(name, "(environment)", "no such setting", f"Unset it, or use one of: {', '.join(sorted(known))}")
        for name in sorted(names)
        if name[len("GRIDFLOW_") :].split("__")[0].lower() not in known
    ]


def _hidden_problems(content: dict[str, Any], error: ValidationError) -> list[Problem]:
    """Problems between fields, which show only once the wrong fields found so far are out of the way."""
    for item in error.errors():
        content = _without(content, item["loc"])
    try:
        Settings(**content)
    except ValidationError as second:
        seen = {problem.field for problem in problems_of(error)}
        return [problem for problem in problems_of(second) if problem.field not in seen]
    except SettingsError:
        return []  # the environment's fault, which the first error has named
    return []


def _without(content: dict[str, Any], path: tuple[int | str, ...]) -> dict[str, Any]:
    """A copy of `content` without what stands at `path`."""
    if not path or path[0] not in content:
        return content
    inner = content[str(path[0])]
    if len(path) > 1 and isinstance(inner, dict) and path[1] in inner:
        return content | {str(path[0]): _without(inner, path[1:])}
    return {name: value for name, value in content.items() if name != path[0]}


def load(config: Path | None = None) -> Settings:
    """Settings from `config` (else $GRIDFLOW_CONFIG, else ./gridflow.toml where it exists) and the environment.

    Raises ConfigError with every problem found.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    path = named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    source = str(path) if path else "the built-in defaults and the environment"
    found = _unknown_variables(dict(os.environ))
    content = _read_toml(path) if path else {}
    if "live" in content:
        rule = "consent to real orders cannot stand in the file"
        remedy = "Set live under [exchange], and pass --live on the command line"
        found.append(Problem("live", str(content.pop("live")), rule, remedy))
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise ConfigError(found + problems_of(error) + _hidden_problems(content, error), source) from None
    except SettingsError as error:  # a nested environment value that is not JSON
        problem = Problem("GRIDFLOW_…", "(environment)", str(error), "Give valid JSON for a nested setting")
        raise ConfigError([*found, problem], source) from None
    if found:
        raise ConfigError(found, source)
    return settings


def state_dir(named: Path | None = None) -> Path:
    """Folder of the one-machine stack's state: `named`, else $GRIDFLOW_STATE, else ./.gridflow; absolute."""
    return (named or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)).absolute()


def override_environment(values: dict[str, str]) -> None:
    """Set variables for this process and its children: how command-line options outrank file and environment."""
    os.environ.update(values)


def child_environment(values: dict[str, str], ours: bool = True) -> dict[str, str]:
    """This process's environment for a child, with `values` on top and without any PREFECT_ variable.

    `ours=False` also leaves out GRIDFLOW_ variables: keys and tokens stay away from programs that need none.
    """
    unwanted = ("PREFECT_",) if ours else ("PREFECT_", "GRIDFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | values


def configured_prefect_api() -> str | None:
    """URL of a Prefect server of the user's own ($PREFECT_API_URL), if one is named."""
    return os.environ.get("PREFECT_API_URL") or None
