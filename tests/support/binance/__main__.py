"""`python -m tests.support.binance --port N --candles FOLDER [--config JSON]`: the exchange until SIGTERM."""

import argparse
import asyncio
import csv
import gzip
import re
import signal
from pathlib import Path

from tasks.exchange.models import Candle
from tests.support.binance.app import Binance
from tests.support.binance.config import Config
from tests.support.binance.server import serve


def read_candles(folder: Path) -> dict[str, list[Candle]]:
    """Candles by symbol from `BTC-USDT….csv.gz` or `.csv` files: timestamp, open, high, low, close, volume."""
    found: dict[str, list[Candle]] = {}
    for path in sorted(folder.iterdir()):
        named = re.match(r"([A-Z0-9]+)-([A-Z0-9]+?)(-.*)?\.csv(\.gz)?$", path.name)
        if named is None:
            continue
        raw = path.read_bytes()
        rows = csv.DictReader((gzip.decompress(raw) if named[4] else raw).decode().splitlines())
        found.setdefault(f"{named[1]}/{named[2]}", []).extend(
            Candle.model_validate({"at_ms": row.pop("timestamp")} | row) for row in rows
        )
    return found


async def run(port: int, binance: Binance) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    async with serve(binance, port):
        await ended.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.binance")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--candles", type=Path, required=True, help="folder of candle files")
    parser.add_argument("--config", default="{}", help="JSON with fields of Config")
    asked = parser.parse_args()
    asyncio.run(run(asked.port, Binance(read_candles(asked.candles), Config.model_validate_json(asked.config))))


if __name__ == "__main__":
    main()
