"""Views with round numbers, and the status without what the time alone changes."""

from decimal import Decimal
from typing import Any

from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.settings.model import Settings
from tasks.views.models import StatusView, SymbolView, WorkerView
from tasks.views.steps import read_status

NOW = 1_704_067_200_000


def symbol(name: str = "BTC/USDT", **changes: Any) -> SymbolView:
    """A symbol with round numbers."""
    base: dict[str, Any] = dict.fromkeys(
        ("inventory_value", "equity_change", "grid_profit", "floating", "fees", "identity_error", "base"), Decimal(0)
    )
    base |= {"allocated": Decimal(1000), "used": Decimal(200), "reserved": Decimal(300), "committed": Decimal(500)}
    base |= {"free": Decimal(500), "usage": Decimal("0.2"), "price": Decimal(42_000), "paused": False, "grid_id": None}
    base |= {"lower": None, "upper": None, "cells": {}, "idle": {}, "rounds": 0, "open_orders": 0, "resolving": 0}
    base |= {"ticks": 3, "fills": 2, "last_tick_ms": NOW - 5000, "last_tick_duration_ms": 12}
    return SymbolView(symbol=name, **(base | changes))


def worker(name: str = "one", **changes: Any) -> WorkerView:
    """A worker that is alive."""
    base: dict[str, Any] = {"host": "host", "pid": 7, "version": "1", "age_seconds": 1.0, "alive": True, "lag_ms": 0}
    return WorkerView(worker=name, **(base | changes))


def status(*symbols: SymbolView, **changes: Any) -> StatusView:
    """An account of these symbols."""
    base: dict[str, Any] = dict.fromkeys(
        ("equity_change", "grid_profit", "floating", "fees", "identity_error", "max_committed", "short"), Decimal(0)
    )
    for name in ("allocated", "used", "reserved", "committed", "free"):
        base[name] = sum((getattr(one, name) for one in symbols), Decimal(0))
    base |= {"account": "main", "quote": "USDT", "mode": "paper", "market": {}, "paused": False, "stopped": False}
    base |= {"total_funds": Decimal(10_000), "equity": Decimal(10_000), "pool": Decimal(9500), "limits_version": 1}
    base |= {"ticks": 0, "fills": 0, "symbols": symbols}
    return StatusView(**(base | changes))


def fill(**changes: Any) -> Fill:
    """A sell with a profit."""
    base: dict[str, Any] = {"trade_id": "1", "client_id": "g1-0-s-0", "symbol": "BTC/USDT", "cell_key": "g1:0"}
    base |= {"side": Side.SELL, "price": Decimal("42000.10"), "qty": Decimal("0.003"), "quote": Decimal("126.0003")}
    base |= {"fee": Decimal("0.1260003"), "fee_currency": "USDT", "fee_quote": Decimal("0.1260003"), "maker": True}
    base |= {"at_ms": NOW, "basis": Decimal(125), "profit": Decimal("0.8742997")}
    return Fill(**(base | changes))


async def shown(redis: RedisClient, own: Settings) -> dict[str, Any]:
    """The status, but for what the time alone changes; a comparison gives the settings a new version."""
    view = await read_status(own, redis)
    found = view.model_dump(exclude={"history", "settings_version", "symbols"})
    of_symbols = {one.symbol: one.model_dump(exclude={"late_seconds", "dark", "dark_why"}) for one in view.symbols}
    return found | {f"{symbol} {name}": value for symbol, one in of_symbols.items() for name, value in one.items()}
