"""A symbol's grid. Each kind of grid is one class with its fields, rules, id and levels.

To add a kind, write its file and add its class to `_AnyKind`.
"""

from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BeforeValidator, Field

from tasks.settings.grids.adaptive import AdaptiveSettings
from tasks.settings.grids.arithmetic import ArithmeticSettings
from tasks.settings.grids.common import Earn, StartMode, SymbolSettings, TrailLimits, net_profit
from tasks.settings.grids.geometric import GeometricSettings
from tasks.settings.grids.infinity import InfinitySettings

__all__ = [
    "DEFAULT_KIND",
    "KINDS",
    "AdaptiveSettings",
    "AnyGrid",
    "ArithmeticSettings",
    "Earn",
    "GeometricSettings",
    "InfinitySettings",
    "StartMode",
    "SymbolSettings",
    "TrailLimits",
    "net_profit",
]

_AnyKind: TypeAlias = ArithmeticSettings | GeometricSettings | AdaptiveSettings | InfinitySettings

KINDS: dict[str, type[SymbolSettings]] = {kind.model_fields["grid"].default: kind for kind in get_args(_AnyKind)}
DEFAULT_KIND = "arithmetic"  # of a table without `grid`


def _with_kind(value: Any) -> Any:
    return {"grid": DEFAULT_KIND} | value if isinstance(value, dict) else value


AnyGrid = Annotated[_AnyKind, Field(discriminator="grid"), BeforeValidator(_with_kind)]
