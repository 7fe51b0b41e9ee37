"""Bars of a symbol's prices, made of the prices that ticks saw and fills had. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, TypeAlias

Samples: TypeAlias = Iterable[tuple[int, Decimal]]  # (ms since the epoch, price)


class PriceBar(NamedTuple):
    """Open, close, lowest and highest price of a span that begins at `at_ms`."""

    at_ms: int
    open: Decimal
    close: Decimal
    low: Decimal
    high: Decimal


def price_bars(samples: Samples, start_ms: int, step_ms: int) -> tuple[PriceBar, ...]:
    """Bars of `step_ms`, oldest first, of the samples since `start_ms`; none for a span without a sample.

    A bar opens at the close of the bar before it, where that ended right then: a price is known between two samples.
    """
    groups: dict[int, list[Decimal]] = {}
    for at_ms, price in sorted(samples):
        if at_ms >= start_ms:
            groups.setdefault(at_ms - at_ms % step_ms, []).append(price)
    found: list[PriceBar] = []
    for at_ms, prices in groups.items():
        follows = found and found[-1].at_ms + step_ms == at_ms
        seen = [found[-1].close, *prices] if follows else prices
        found.append(PriceBar(at_ms, seen[0], seen[-1], min(seen), max(seen)))
    return tuple(found)
