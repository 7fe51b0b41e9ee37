"""The values that a search tries: ranges and lists of a symbol's settings. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from typing import NamedTuple

from tasks.backtest.request import wrong_option
from tasks.base.errors import ConfigError
from tasks.base.money import plain

MOST_VALUES = 100_000  # of one range


class Parameter(NamedTuple):
    """One setting and the values to try, as text. `step`: of a range of numbers; None for a list."""

    name: str
    values: tuple[str, ...]
    step: Decimal | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every value is a whole number."""
        return all(value.lstrip("-").isdigit() for value in self.values)


def parse_parameter(text: str, option: str) -> Parameter:
    """`cells=10:40:5` (both ends included) or `start=flat,balanced`. Raises ConfigError, with `option` as the field."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise _problem(option, text, "must be name=low:high:step or name=a,b,c")
    if ":" not in values:
        return Parameter(name.strip().replace("-", "_"), tuple(part.strip() for part in values.split(",")))
    try:
        low, high, step = (Decimal(part) for part in values.split(":"))
    except (ValueError, InvalidOperation):
        raise _problem(option, text, "must have three numbers: low:high:step") from None
    if step <= 0 or high < low or (high - low) / step > MOST_VALUES:
        raise _problem(option, text, f"needs low ≤ high, a step above 0, and at most {MOST_VALUES} values")
    count = int((high - low) / step) + 1
    return Parameter(name.strip().replace("-", "_"), tuple(plain(low + step * i) for i in range(count)), step)


def size_of(parameters: Sequence[Parameter]) -> int:
    """How many combinations there are."""
    return prod(len(parameter.values) for parameter in parameters)


def combinations(parameters: Sequence[Parameter]) -> Iterator[Mapping[str, str]]:
    """Every combination, in order."""
    names = [parameter.name for parameter in parameters]
    for values in product(*(parameter.values for parameter in parameters)):
        yield dict(zip(names, values, strict=True))


def _problem(option: str, text: str, rule: str) -> ConfigError:
    remedy = f"Write it like {option} cells=10:40:5"
    return wrong_option(option, text, rule, remedy)
