"""Folders of candle files that a backtest may be played over, and the symbols in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tasks.paper.candle_files import symbols_in

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "sample-candles"  # is there in a checkout only


class Shelf(NamedTuple):
    """A folder with candle files: of these symbols, sorted."""

    folder: Path
    symbols: tuple[str, ...]


def shelves(folders: Iterable[Path | None]) -> tuple[Shelf, ...]:
    """Those of the folders that hold candle files, each once, in order."""
    known = dict.fromkeys(folder.resolve() for folder in folders if folder is not None)
    found = (Shelf(folder, symbols_in(folder)) for folder in known)
    return tuple(one for one in found if one.symbols)
