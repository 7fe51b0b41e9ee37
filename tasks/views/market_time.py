"""What time it is on a paper market. Pure."""

from collections.abc import Mapping
from typing import Any


def market_time(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What time it is on a paper market that does not run on wall time: `market_ms`, of the newest candle in ms.

    Of a recording also `until_ms`, its last candle, and `ended`, whether every symbol has reached its last candle;
    `missing_minutes`, how many candles its files lack; `candle_minutes`, how far its candles are apart. `stored`: see
    `describe_market`. Empty for live prices.
    """
    reached = stored.get("market_ms", {})
    if stored.get("source") not in ("replay", "synthetic", "manual") or not reached:
        return {}
    found: dict[str, Any] = {"market_ms": max(reached.values())}
    spans, done = stored.get("spans", {}), stored.get("candles_done", {})
    if stored["source"] == "replay" and spans:
        found["until_ms"] = max(span["last_ms"] for span in spans.values())
        found["ended"] = all(done.get(symbol, 0) >= span["candles"] for symbol, span in spans.items())
        found["missing_minutes"] = sum(span["gaps"] for span in spans.values())
        found["candle_minutes"] = max(span.get("step_ms", 60_000) for span in spans.values()) // 60_000
    return found
