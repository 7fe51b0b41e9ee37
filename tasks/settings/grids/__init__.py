"""A symbol's grids. Each kind of grid is one class with its fields, rules, id and levels.

To add a kind, write its file, add its class to `_AnyKind`, and its table to `several`.
"""

from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from tasks.settings.grids.adaptive import AdaptiveSettings
from tasks.settings.grids.arithmetic import ArithmeticSettings
from tasks.settings.grids.common import Earn, GridSettings, OneGrid, StartMode, SymbolSettings, TrailLimits, net_profit
from tasks.settings.grids.geometric import GeometricSettings
from tasks.settings.grids.infinity import InfinitySettings
from tasks.settings.grids.several import DEFAULT_KIND, GRIDS, SEVERAL, SeveralSettings, with_default_kind

__all__ = [
    "DEFAULT_KIND",
    "GRIDS",
    "KINDS",
    "AdaptiveSettings",
    "AnySymbol",
    "ArithmeticSettings",
    "Earn",
    "GeometricSettings",
    "GridSettings",
    "InfinitySettings",
    "OneGrid",
    "SeveralSettings",
    "StartMode",
    "SymbolSettings",
    "TrailLimits",
    "net_profit",
]

_AnyKind: TypeAlias = ArithmeticSettings | GeometricSettings | AdaptiveSettings | InfinitySettings

KINDS: dict[str, type[OneGrid]] = {kind.model_fields["grid"].default: kind for kind in get_args(_AnyKind)}


def _with_kind(value: Any) -> Any:
    if isinstance(value, dict) and "grids" in value:
        return {"grid": SEVERAL} | value
    return with_default_kind(value)


AnySymbol = Annotated[_AnyKind | SeveralSettings, Field(discriminator="grid"), BeforeValidator(_with_kind)]
