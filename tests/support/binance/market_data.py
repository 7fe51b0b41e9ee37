"""Tickers, depth and bars of the replayed market. Candles keep the times they came with."""

from tests.support.binance.engine import Engine
from tests.support.binance.payloads import Json, amount

MINUTE_MS = 60_000


def day(engine: Engine, symbol: str, now_ms: int) -> Json:
    """`ticker/24hr`: bid = ask = last."""
    rows = engine.candles[symbol][: max(1, engine.done[symbol])][-1440:]
    last, first = engine.last(symbol), rows[0].open
    volume = sum((row.volume for row in rows), start=rows[0].volume * 0)
    price = amount(last)
    return {
        "symbol": symbol,
        "priceChange": amount(last - first),
        "priceChangePercent": f"{(last - first) / first * 100:.3f}",
        "weightedAvgPrice": price,
        "prevClosePrice": amount(first),
        "lastPrice": price,
        "lastQty": amount(rows[-1].volume),
        "bidPrice": price,
        "bidQty": "1000.00000000",
        "askPrice": price,
        "askQty": "1000.00000000",
        "openPrice": amount(first),
        "highPrice": amount(max(row.high for row in rows)),
        "lowPrice": amount(min(row.low for row in rows)),
        "volume": amount(volume),
        "quoteVolume": amount(volume * last),
        "openTime": now_ms - 1440 * MINUTE_MS,
        "closeTime": now_ms,
        "firstId": 0,
        "lastId": engine.done[symbol],
        "count": engine.done[symbol],
    }


def book_ticker(engine: Engine, symbol: str) -> Json:
    """Best bid and ask."""
    price = amount(engine.last(symbol))
    return {"symbol": symbol, "bidPrice": price, "bidQty": "1000.0", "askPrice": price, "askQty": "1000.0"}


def depth(engine: Engine, symbol: str) -> Json:
    """An order book one tick wide."""
    last, tick = engine.last(symbol), engine.rules(symbol).tick
    return {
        "lastUpdateId": engine.done[symbol] + 1,
        "bids": [[amount(last - tick), "1000.00000000"]],
        "asks": [[amount(last), "1000.00000000"]],
    }


def klines(engine: Engine, symbol: str, params: dict[str, str]) -> Json:
    """1-minute bars that are over, the latest `limit` or the first ones from `startTime`."""
    rows = engine.candles[symbol][: engine.done[symbol]]
    limit = min(1000, int(params.get("limit", 500)))
    start, end = int(params.get("startTime", 0)), int(params.get("endTime", 2**62))
    rows = [row for row in rows if start <= row.at_ms <= end]
    rows = rows[:limit] if "startTime" in params else rows[-limit:]
    return [
        [
            row.at_ms,
            *(amount(value) for value in (row.open, row.high, row.low, row.close, row.volume)),
            row.at_ms + MINUTE_MS - 1,
            amount(row.volume * row.close),
            1,
            amount(row.volume / 2),
            amount(row.volume * row.close / 2),
            "0",
        ]
        for row in rows
    ]
