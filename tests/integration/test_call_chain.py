"""How deep the calls go from a flow to the script that grants the money: a reader can follow them."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from flows.grid_tick import grid_tick
from flows.runtime.trading import TradingService
from tasks.base.redis_client import LuaScript, script_source
from tasks.settings.model import Settings
from tests.support.desk import BTC

ROOT = Path(__file__).parents[2]
OWN = tuple(str(ROOT / name) for name in ("flows", "tasks", "dashboard"))
MOST = 10


def own_frames(frame: FrameType | None) -> list[str]:
    """Functions of the program on this stack, innermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(OWN):
            found.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return found


@pytest.fixture
def trading(redis_url: str) -> Iterator[TradingService]:
    """A trading service over a synthetic paper market."""
    grid: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 6, "start": "balanced"}
    own = {"paper": {"market": "synthetic"}, "redis_url": redis_url, "symbols": {BTC: grid}}
    service = TradingService(Settings.model_validate(own | {"trading": {"window_seconds": 10}}))
    yield service
    service.close()


def test_from_the_flow_to_the_reserve_script(trading: TradingService, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ten functions of our own, the flow's included."""
    caller, chains = threading.get_ident(), list[list[str]]()
    reserve, call = script_source("tasks.funds", "reserve"), LuaScript.__call__

    async def noted(script: LuaScript, *arguments: Any, **named: Any) -> Any:
        if script.text == reserve:
            waiting = own_frames(sys._current_frames()[caller])
            chains.append([*own_frames(sys._getframe()), *waiting])
        return await call(script, *arguments, **named)

    monkeypatch.setattr(LuaScript, "__call__", noted)
    trading.run_window(BTC, None, lambda: bool(chains))
    (chain, *_) = chains
    assert chain[0] == "store.reserve"
    assert chain[-1] == "trading.run_window", "what the flow calls"
    assert len([*chain, grid_tick.fn.__name__]) <= MOST, chain
