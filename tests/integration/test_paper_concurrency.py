"""Eight real processes trade on one replayed market: each candle counts once, each fill happens once, money stays."""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.base.redis_client import RedisClient
from tasks.paper.opening import open_paper_exchange
from tasks.settings.model import Settings
from tests.support.paper import START_MS, SYMBOL

ROOT = Path(__file__).parents[2]
CANDLES = 400
FUNDS = Decimal(10_000)

TRADER = """
import asyncio, json, random, sys
from ccxt.base.errors import ExchangeError
from tasks.base.redis_client import connect
from tasks.settings.model import Settings
from tasks.paper.opening import open_paper_exchange

async def trade(url, number, config):
    redis = connect(url)
    exchange = await open_paper_exchange(Settings.model_validate(config), redis)
    choice = random.Random(number)
    for step in range(40):
        last = (await exchange.fetch_ticker("BTC/USDT"))["last"]
        wanted = [
            dict(symbol="BTC/USDT", type="limit", side=side, amount=choice.randint(1, 20) / 100,
                 price=last + choice.uniform(-3, 3), params={"clientOrderId": f"{number}-{step}-{side}"})
            for side in ("buy", "sell")
        ]
        await exchange.create_orders(wanted)
        if choice.random() < 0.3:
            resting = [order["id"] for order in await exchange.fetch_open_orders("BTC/USDT")]
            await exchange.cancel_orders(resting[:1], "BTC/USDT")
    await exchange.close()
    await redis.aclose()

asyncio.run(trade(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])))
"""


def config_of(folder: Path) -> dict[str, Any]:
    """A replay fast enough that candles become complete between any two calls."""
    return {
        "paper": {"market": "replay", "data": str(folder), "speed": "6000"},
        "symbols": {SYMBOL: {"lower": "50", "upper": "150", "cells": 10}},
    }


def write_candles(folder: Path) -> None:
    """A price that swings by two around 100."""
    lines = ["timestamp,open,high,low,close,volume"]
    for i in range(CANDLES):
        opened, close = 100 + (i % 5) - 2, 100 + ((i + 1) % 5) - 2
        lines.append(f"{START_MS + i * 60_000},{opened},{max(opened, close) + 1},{min(opened, close) - 1},{close},1")
    (folder / "BTC-USDT-1m-2024-01.csv").write_text("\n".join(lines))


async def test_eight_processes_share_one_exchange(redis: RedisClient, redis_url: str, tmp_path: Path) -> None:
    """After all the noise every amount is accounted for: start + trades = free + locked, to the last unit."""
    write_candles(tmp_path)
    config = config_of(tmp_path)
    command = [sys.executable, "-c", TRADER, redis_url]
    traders = [
        await asyncio.create_subprocess_exec(
            *command, str(number), json.dumps(config), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        for number in range(8)
    ]
    ends = await asyncio.wait_for(asyncio.gather(*(trader.communicate() for trader in traders)), 120)
    assert [trader.returncode for trader in traders] == [0] * 8, [errors.decode()[-500:] for _, errors in ends]
    exchange = await open_paper_exchange(Settings.model_validate(config), redis)
    trades = await exchange.fetch_my_trades(SYMBOL, limit=1000)
    orders = await exchange.fetch_orders(SYMBOL, limit=1000)
    opened = await exchange.fetch_open_orders(SYMBOL)
    balance = (await exchange.fetch_balance())["info"]
    await exchange.close()

    assert len(trades) > 100
    assert len({trade["order"] for trade in trades}) == len(trades)
    assert len(orders) == len({order["id"] for order in orders})
    filled = {order["id"] for order in orders if order["status"] == "closed"}
    assert filled == {trade["order"] for trade in trades}
    assert_money_adds_up([trade["info"] for trade in trades], [order["info"] for order in opened], balance)


def assert_money_adds_up(trades: list[Any], opened: list[Any], balance: dict[str, Any]) -> None:
    """Totals follow from the trades, what is used follows from the open orders."""
    quote, base = FUNDS, Decimal(0)
    for trade in trades:
        sign = 1 if trade["side"] == "b" else -1
        quote -= sign * Decimal(trade["cost"]) + Decimal(trade["fee"])
        base += sign * Decimal(trade["qty"])
    used = {"b": Decimal(0), "s": Decimal(0)}
    for order in opened:
        used[order["side"]] += Decimal(order["lock"])
    for currency, total, locked in (("USDT", quote, used["b"]), ("BTC", base, used["s"])):
        have = {name: Decimal(text) for name, text in balance[currency].items()}
        assert (have["total"], have["used"]) == (total, locked)
        assert have["free"] >= 0
