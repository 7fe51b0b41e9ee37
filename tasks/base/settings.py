"""Settings: `gridflow.toml` and `GRIDFLOW_…` environment (nested by `__`; the environment wins).

This module is the only reader of the environment. `load` either returns settings that can run or raises one
ConfigError that lists every problem.
"""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, model_validator
from pydantic_core import to_jsonable_python

from tasks.base.cross_checks import cross_problems
from tasks.base.errors import ConfigError, Problem
from tasks.base.forms import checked_redis_url, form
from tasks.base.known import Known
from tasks.base.money import MAX_QUOTE
from tasks.base.problems import places_of, problems_of, shown
from tasks.base.sections import (
    AllocationStrategy,
    ExchangeSettings,
    GridKind,
    PaperSettings,
    Section,
    Share,
    StartMode,
    SymbolSettings,
    TradingSettings,
)
from tasks.base.sources import PREFIX, Values, file_values, merged, unknown_variables, variable_values, without

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_CONFIG",
    "AllocationStrategy",
    "ExchangeSettings",
    "GridKind",
    "PaperSettings",
    "Settings",
    "StartMode",
    "SymbolSettings",
    "TradingSettings",
    "child_environment",
    "configured_prefect_api",
    "configured_redis_url",
    "from_values",
    "load",
    "override_environment",
    "public_values",
    "state_dir",
]

CONFIG_VARIABLE = "GRIDFLOW_CONFIG"
STATE_VARIABLE = "GRIDFLOW_STATE"
DEFAULT_CONFIG = Path("gridflow.toml")
DEFAULT_STATE = Path(".gridflow")

_FIELDS_ONLY = "fields only"  # validation context: rules between fields are looked at later


def _default_symbols() -> dict[str, SymbolSettings]:
    default = SymbolSettings(grid=GridKind.GEOMETRIC, range_pct=Decimal("0.04"), cells=20, start=StartMode.BALANCED)
    return dict.fromkeys(("BTC/USDT", "ETH/USDT", "BNB/USDT"), default)


class Settings(Section):
    """Everything a user can set."""

    account: Annotated[str, form(r"[a-z0-9][a-z0-9-]{0,15}", "must be 1 to 16 of a-z, 0-9 and -, not - first")] = Field(
        "main", description="name of the pot; every Redis key carries it; 1-16 of a-z 0-9 -"
    )
    quote: Annotated[str, form(r"[A-Z0-9]{1,10}", "must be 1 to 10 of A-Z and 0-9")] = Field(
        "USDT", description="quote currency, 1-10 of A-Z 0-9"
    )
    total_funds: Annotated[Decimal, Field(gt=0, le=MAX_QUOTE)] = Field(
        Decimal(10_000), description="the pot, in quote, above 0 to 90000000"
    )
    global_max_usage: Share = Field(Decimal("0.95"), description="share of total_funds that may be used, above 0 to 1")
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
    sole_account: bool = Field(
        False,
        description="true or false: this pot alone trades on the exchange account, so a rebuild may take order "
        "ids of the form used before account tags",
    )
    exchange: ExchangeSettings = ExchangeSettings()
    paper: PaperSettings = PaperSettings()
    trading: TradingSettings = TradingSettings()
    symbols: dict[str, SymbolSettings] = Field(
        default_factory=_default_symbols, description="the symbols to trade, 1 to 500, by ccxt name"
    )
    live: bool = Field(False, description="consent to real orders; set by --live, never in the file")
    redis_url: Annotated[SecretStr, AfterValidator(checked_redis_url)] | None = Field(
        None,
        description="your own Redis, redis://, rediss:// or unix://; absent: the one-machine stack's Valkey; "
        "it may hold a password: keep it in GRIDFLOW_REDIS_URL",
    )

    @model_validator(mode="after")
    def _whole_makes_sense(self, info: ValidationInfo) -> "Settings":
        broken = [] if info.context == _FIELDS_ONLY else cross_problems(Known(self))
        if broken:
            raise ValueError("; ".join(map(str, broken)))
        return self


def _nothing_more(known: Known) -> list[Problem]:  # noqa: ARG001 - what `load` looks at unless told more
    return []


def load(config: Path | None = None, more: Callable[[Known], list[Problem]] = _nothing_more) -> Settings:
    """Settings from `config` (else $GRIDFLOW_CONFIG, else ./gridflow.toml where it exists) and the environment.

    `more`: rules of a later stage, which look at sound fields only. Raises ConfigError with every problem found.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    path = named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    variables = variable_values(Settings)
    unknown = unknown_variables(_variables(), set(Settings.model_fields))
    content, unreadable = file_values(path) if path else ({}, [])
    known, refused = _known(merged(without(content, ("live",)), variables))
    if unreadable:
        known = Known(known.settings, frozenset({()}))  # what it would say is not known
    found = [*unknown, *unreadable, *_consent_in_file(content), *refused, *cross_problems(known), *more(known)]
    if found:
        raise ConfigError(found, _source(path, bool(variables or unknown)))
    return known.settings


def _variables() -> dict[str, str]:
    """The environment without the two variables that say where to look, not what to set."""
    return {name: value for name, value in os.environ.items() if name.upper() not in (CONFIG_VARIABLE, STATE_VARIABLE)}


def _source(path: Path | None, variables: bool) -> str:
    if path is None:
        return "the built-in defaults and the environment"
    return f"{path} and the environment" if variables else str(path)


def _consent_in_file(content: Values) -> list[Problem]:
    if "live" not in content:
        return []
    rule = "consent to real orders cannot stand in the file"
    remedy = "Set live under [exchange], and pass --live on the command line"
    return [Problem("live", shown(("live",), content["live"]), rule, remedy)]


def _known(values: Values) -> tuple[Known, list[Problem]]:
    """The settings with every faulty field at its default and marked as such, and what is wrong with those fields."""
    try:
        return Known(Settings.model_validate(values, context=_FIELDS_ONLY)), []
    except ValidationError as error:
        faulty, found = places_of(error), problems_of(error)
    for place in faulty:
        values = without(values, place)
    names = {place[1] for place in faulty if place[:1] == ("symbols",) and len(place) == 2}
    if names:  # no table at all: its name may be wrong as well
        values = merged(values, {"symbols": {name: {} for name in names}})
    return Known(Settings.model_validate(values, context=_FIELDS_ONLY), frozenset(faulty)), found


def public_values(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, without those that are not set and without any secret; see `from_values`."""
    values: dict[str, Any] = to_jsonable_python(_without_secrets(settings.model_dump(exclude_none=True)))
    return values


def _without_secrets(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_secrets(each) for name, each in value.items() if not isinstance(each, SecretStr)}


def from_values(values: Values) -> Settings:
    """Settings from what `public_values` gave. Rules between fields are not looked at: some want the secrets."""
    return Settings.model_validate(values, context=_FIELDS_ONLY)


def configured_redis_url() -> str | None:
    """The Redis that the environment names, whatever else is wrong with the settings."""
    return os.environ.get(f"{PREFIX}REDIS_URL") or None


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
