"""The market's clock: which candle the market has reached at a wall-clock time. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from tasks.paper.candles import MINUTE


@dataclass(frozen=True, slots=True)
class MarketClock:
    """At wall-clock `anchor` (ms) the market stood at `position` (market ms since its start); it runs at `speed`.

    Candle k is complete when the position reaches (k+1) minutes. `epoch` counts how often the clock was set on.
    """

    epoch: int
    anchor: int
    position: int
    speed: Decimal

    def complete(self, now_ms: int) -> int:
        """Number of candles that are complete at `now_ms`."""
        return (self.position + int(max(now_ms - self.anchor, 0) * self.speed)) // MINUTE

    def wall(self, candle: int) -> int:
        """Wall-clock ms at which candle number `candle` begins."""
        return self.anchor + int((candle * MINUTE - self.position) / self.speed)
