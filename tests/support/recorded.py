"""The recorded month: 15-minute candles of January 2024 and the symbols' filters."""

import csv
import gzip
from decimal import Decimal
from pathlib import Path

from tasks.exchange.models import Candle, Market
from tasks.paper.units import filters_for

DATA = Path(__file__).parents[1] / "data"
CANDLE_MS = 15 * 60_000


def recorded_month(symbol: str) -> list[Candle]:
    """All 2,976 candles of the month; they carry no volume."""
    return candles_in(DATA / f"{symbol.replace('/', '-')}-15m-2024-01.csv.gz")


def candles_in(path: Path) -> list[Candle]:
    """The candles of a csv.gz file; without a column of volumes they are 0."""
    names = ("open", "high", "low", "close")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [
            Candle(
                at_ms=int(row["timestamp"]),
                volume=Decimal(row.get("volume") or "0"),
                **{name: Decimal(row[name]) for name in names},
            )
            for row in csv.DictReader(stream)
        ]


def paper_market(symbol: str, fee: Decimal) -> Market:
    """The symbol as the paper exchange lists it."""
    own = filters_for(symbol, Decimal(1))
    base, quote = symbol.split("/")
    return Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=own.tick,
        lot_step=own.lot,
        min_qty=own.min_qty,
        max_qty=own.max_qty,
        min_notional=own.min_notional,
        maker_fee=fee,
        taker_fee=fee,
    )
