"""Commands about changed settings and one symbol: `check`, `liquidate`, `funds preview`, `write-off` and `return`."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from tasks.base.keys import Keys
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient, connect
from tasks.control.steps import put_in_force
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Market
from tasks.ledger.base_guard import BaseCorrection, CorrectionKind
from tasks.ledger.models import Book
from tasks.settings.in_force import publish
from tasks.settings.model import Settings
from tasks.tick import base_return
from tests.support.delisted import Delisted
from tests.support.desk import BTC, open_desk, settings, walk

ETH = "ETH/USDT"
KEYS = Keys("main")
GRID: dict[str, Any] = {"grid": "geometric", "range_pct": "0.04", "cells": 10, "start": "balanced"}
FILE = """
allocation_strategy = "equal"
[symbols."BTC/USDT"]
range_pct = "0.04"
cells = 12
"""


def own(*symbols: str) -> Settings:
    """These symbols, shared equally."""
    return settings(symbols=dict.fromkeys(symbols, GRID), allocation_strategy="equal")


@pytest.fixture
def account(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """BTC and ETH at work; the folder's file names BTC alone, with other cells."""

    async def prepare() -> None:
        redis = connect(redis_url)
        both = own(BTC, ETH)
        await publish(redis, both)
        desk = await open_desk(redis, both, {BTC: walk(100), ETH: walk(100, seed=2)})
        for symbol in (BTC, ETH):
            trader = await desk.trader(symbol)
            for _ in range(3):
                await trader.tick()
            await trader.end_lease()
        await desk.close()
        await redis.aclose()

    asyncio.run(prepare())
    (tmp_path / "gridflow.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", redis_url)
    return redis_url


def gridflow(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, list(words))


def remove_eth(url: str) -> None:
    """What `gridflow deploy` does with a file that names BTC alone."""

    async def work() -> None:
        redis = connect(url)
        await put_in_force(redis, own(BTC))
        await redis.aclose()

    asyncio.run(work())


async def _flag(url: str, symbol: str) -> str | None:
    redis: RedisClient = connect(url)
    (found,) = await redis.hmget(KEYS.funds_symbol(symbol), ["liquidate"])
    await redis.aclose()
    return None if found is None else str(found)


def test_check_says_what_would_change(account: str) -> None:
    """The fields in which the file differs, and what a symbol that would leave still holds."""
    told = gridflow("check", "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert {'symbols."BTC/USDT".cells', 'symbols."ETH/USDT"'} <= set(found["differs"])
    assert "open orders" in found["leaving"][ETH]
    preview = found["symbols"][0]["preview"]
    assert 0 < float(preview["allocated"]) < 9500, "the other symbol still holds what it bought"
    assert preview["price"] is not None
    assert "would leave and retire" in gridflow("check").output


def test_a_preview_answers_and_binds_nothing(account: str) -> None:
    """Exit code 0 when allowed, 1 when refused, 2 for what is no amount."""
    sell = gridflow("funds", "preview", BTC, "sell", "500", "--json")
    assert json.loads(sell.stdout) == {
        "symbol": BTC,
        "side": "sell",
        "amount": "500",
        "allowed": True,
        "reason": "OK",
    }
    buy = gridflow("funds", "preview", BTC, "buy", "5000")
    assert buy.exit_code == 1
    assert buy.output == "buy 5000 USDT of BTC/USDT: refused, SYMBOL_LIMIT\n"
    assert gridflow("funds", "preview", "XRP/USDT", "buy", "5").output.endswith("refused, UNKNOWN_SYMBOL\n")
    wrong = gridflow("funds", "preview", BTC, "buy", "0")
    assert wrong.exit_code == 2
    assert "is not above 0" in wrong.output


def test_a_stop_refuses_sells_too(account: str) -> None:
    """Under an operator's stop a tick places nothing at all."""

    async def stop() -> None:
        redis = connect(account)
        await redis.hset(KEYS.funds, "stopped", "1")
        await redis.aclose()

    asyncio.run(stop())
    assert gridflow("funds", "preview", BTC, "sell", "5").output.endswith("refused, STOPPED\n")


def test_a_symbol_is_liquidated_at_its_next_ticks(account: str) -> None:
    """After a question. A symbol of the settings is paused as well, sells all that it holds, and trades on `resume`."""
    assert gridflow("liquidate", "XRP/USDT", "--yes").exception is not None
    unknown = CliRunner().invoke(cli, ["liquidate", "XRP/USDT"], input="y\n")
    assert unknown.exception is not None
    assert "XRP/USDT?" not in unknown.output, "it does not ask about a symbol that it cannot sell"
    assert CliRunner().invoke(cli, ["liquidate", BTC], input="n\n").exit_code == 1
    assert asyncio.run(_flag(account, BTC)) is None
    done = gridflow("liquidate", BTC, "--yes", "--json")
    assert json.loads(done.stdout) == {"liquidating": [BTC], "durable": True}
    assert tick(account).base > 0, "its orders are cancelled first"
    for _ in range(3):
        book = tick(account)
    assert book.base == book.basis == 0
    again = gridflow("resume", BTC, "--json")
    assert json.loads(again.stdout) == {"resumed": [BTC], "durable": True}
    assert asyncio.run(_flag(account, BTC)) == "0"
    remove_eth(account)
    asked = CliRunner().invoke(cli, ["liquidate", ETH], input="y\n")
    assert asked.stdout == "Selling at the market's price: ETH/USDT\n"
    assert asyncio.run(_flag(account, ETH)) == "1"
    paused = gridflow("pause", "--json")
    assert json.loads(paused.stdout) == {"paused": None, "durable": True}


def test_write_off_asks_and_refuses_what_can_be_sold(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed symbol is refused; once the exchange no longer lists it, its cost is booked as a loss."""
    remove_eth(account)
    listed = gridflow("funds", "write-off", ETH, "--yes")
    assert listed.exit_code != 0
    assert "is listed and has" in str(listed.exception)
    unsure = CliRunner().invoke(cli, ["funds", "write-off", ETH], input="n\n")
    assert unsure.exit_code == 1

    markets = CcxtClient.markets

    async def without_eth(client: CcxtClient, symbols: list[str]) -> dict[str, Market]:
        await Delisted(client, ETH).refuse(symbols)
        return dict(await markets(client, symbols))

    monkeypatch.setattr(CcxtClient, "markets", without_eth)
    done = gridflow("funds", "write-off", ETH, "--yes", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["symbol"] == ETH
    assert float(told["cost"]) > 100
    again = gridflow("funds", "write-off", ETH, "--yes")
    assert "holds nothing" in str(again.exception)


def withdraw(url: str, qty: str) -> None:
    """BTC's next tick finds that this much base is not on the account."""

    async def work() -> None:
        redis = connect(url)
        book = Book.model_validate_json(await redis.get(KEYS.book(BTC)) or "")
        found = BaseCorrection(
            id="missing:1", kind=CorrectionKind.MISSING, qty=Decimal(qty), at_ms=1, received=book.received
        )
        await redis.hset(KEYS.corrections(BTC), "missing", found.model_dump_json())
        await redis.aclose()

    asyncio.run(work())


def stop_orders(url: str) -> None:
    """A stop cancels the orders, so that their base is free."""

    async def work() -> None:
        redis = connect(url)
        await redis.hset(KEYS.funds, "stopped", "1")
        await redis.aclose()

    asyncio.run(work())
    for _ in range(2):
        tick(url)


def tick(url: str) -> Book:
    """One tick of BTC; its book afterwards."""

    async def work() -> Book:
        redis = connect(url)
        desk = await open_desk(redis, own(BTC, ETH))
        trader = await desk.trader()
        await trader.tick()
        await trader.end_lease()
        await desk.close()
        book = Book.model_validate_json(await redis.get(KEYS.book(BTC)) or "")
        await redis.aclose()
        return book

    return asyncio.run(work())


def test_a_return_says_what_cannot_be_right(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number, nothing missing, too much; then it is accepted once, and the symbol's next tick books it."""
    monkeypatch.setattr(base_return, "WAIT_SECONDS", 0.5)
    for wrong, why in (("much", "is not a number: give an amount of the coin like 0.25"), ("0", "is not above 0")):
        refused = gridflow("funds", "return", BTC, wrong)
        assert refused.exit_code == 2
        assert why in " ".join(refused.output.split())
    refused = gridflow("funds", "return", BTC, "0.001")
    assert "amount = 0.001 BTC: no BTC is missing in the books. More on the account is your own" in str(
        refused.exception
    )
    stop_orders(account)
    withdraw(account, "0.005")
    book = tick(account)
    free = book.missing_base
    assert free == Decimal("0.005")
    refused = gridflow("funds", "return", BTC, "7")
    assert f"only {plain(free)} BTC is missing in the books. Give {plain(free)} BTC at most" in str(refused.exception)
    done = gridflow("funds", "return", BTC, plain(free), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told == {"symbol": BTC, "qty": plain(free), "cost": "0", "booked": False}
    again = gridflow("funds", "return", BTC, plain(free))
    assert "another return of BTC/USDT waits for the symbol's next tick" in str(again.exception)
    after = tick(account)
    assert after.missing == after.missing_base == 0
    assert after.base == book.base + free


def test_a_stop_without_a_stack_does_not_trust_a_redis_that_went_back(account: str) -> None:
    """An empty journal proves nothing before a worker has compared the books with the exchange."""

    async def change(name: str, value: str | None) -> None:
        redis = connect(account)
        if value is None:
            await redis.delete(*(KEYS.intents(symbol) for symbol in (BTC, ETH)))
        else:
            await redis.set(name, value)
        await redis.aclose()

    async def ids() -> str:
        redis = connect(account)
        found = str(await redis.get(KEYS.compared) or "")
        await redis.aclose()
        return found

    before = asyncio.run(ids())
    asyncio.run(change(KEYS.intents(BTC), None))
    asyncio.run(change(KEYS.compared, "the server before"))
    done = gridflow("stop", "--force", "--timeout", "1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["orders_open"]) == (1, None), done.output
    asyncio.run(change(KEYS.compared, before))
    done = gridflow("stop", "--force", "--timeout", "1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["orders_open"]) == (0, []), done.output
