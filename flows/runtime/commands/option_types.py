"""Types of options. Each refuses a wrong value with the rule and an example."""

import math
import os
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import dec, plain
from tasks.settings.environment import STATE_VARIABLE, state_dir

_TEN_YEARS = 3650 * 86400.0


class Seconds(click.ParamType[float]):
    """A number of seconds, finite, from `least` to `most`."""

    name = "seconds"

    def __init__(self, least: float = 0.0, most: float = _TEN_YEARS, example: str = "60") -> None:
        """A `least` of 0 means above 0."""
        self._least, self._most, self._example = least, most, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        option = param.opts[0] if param else ""
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds. Example: {option} {self._example}", param, ctx)
        in_bounds = self._least <= seconds <= self._most and seconds > 0
        if not math.isfinite(seconds) or not in_bounds:
            least = f"at least {self._least:g}" if self._least else "above 0"
            rule = f"must be a number of seconds, {least} and at most {self._most:.15g}"
            self.fail(f"{value} {rule}. Example: {option} {self._example}", param, ctx)
        return seconds


def usable_state(state: Path | None) -> Path:
    """The state folder, made where it does not exist. Raises ConfigError where it cannot be made or written to.

    A folder that root makes may be passed through: PostgreSQL, which does not run as root, has its data there.
    """
    folder = state_dir(state)
    try:
        folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        rule = f"cannot be written ({getattr(error, 'strerror', None) or error})"
        remedy = "Name a folder below one that exists and that you may write to. Example: --state ./gridflow-state"
        problem = Problem("--state" if state else STATE_VARIABLE, str(folder), rule, remedy)
        raise ConfigError([problem], "the command line" if state else "the environment") from None
    return folder


class Day(click.DateTime):
    """A day, or a time of it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The moment, without a zone."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            option = param.opts[0] if param else ""
            self.fail(f"{value!r} is no day. Example: {option} 2024-01-31 or {option} 2024-01-31T16:00:00", param, ctx)


class AmountCommand(click.Command):
    """A command with an amount as argument: -5 is an amount below 0 and no unknown option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments that are left. Raises BadParameter for a negative number."""
        for text in args:
            if re.fullmatch(r"-\.?\d\S*", text):
                raise click.BadParameter(f"{text} is not above 0: give it without a sign", ctx, param_hint="'AMOUNT'")
        return super().parse_args(ctx, args)


def positive_amount(
    remedy: str, most: Decimal | None = None
) -> Callable[[click.Context, click.Parameter, str], Decimal]:
    """Reads a positive amount, at most `most`. Raises BadParameter for anything else; `remedy` says what to give."""

    def read(_context: click.Context, _parameter: click.Parameter, text: str) -> Decimal:
        try:
            amount = dec(text)
        except (InvalidOperation, ValueError):
            raise click.BadParameter(f"{text!r} is not a number: {remedy}") from None
        if amount <= 0:
            raise click.BadParameter(f"{text} is not above 0: {remedy}")
        if most is not None and amount > most:
            raise click.BadParameter(f"{text} is above {plain(most)}, the most that a pot can hold: {remedy}")
        return amount

    return read
