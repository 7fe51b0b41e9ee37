"""Where exchanges differ: names of orders, pages, times that are missing, and where real orders may go."""

import re
from collections.abc import Callable
from typing import Any

import ccxt
import pytest
from pydantic import SecretStr

from tasks.base.errors import ConfigError
from tasks.base.redis_client import connect
from tasks.exchange.connect import ccxt_exchange, live_exchange
from tasks.exchange.live_checks import id_problems, live_problems
from tasks.exchange.pages import WEEK_MS, Ask, Backward, ByCursor, ByDay, ByWeek, Forward
from tasks.exchange.parsing import ticker_of
from tasks.exchange.quirks import quirks_of
from tasks.settings.model import ExchangeSettings, Settings
from tasks.tick.opening import open_exchange

DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_795_000_000_000


@pytest.mark.parametrize("client_id", ["g1a2b3c4d-12-b-7", "gdeadbeef-999-s-999999999999999", "g00000000-0-b-0"])
def test_okx_takes_our_ids(client_id: str) -> None:
    """Letters and digits, 32 of them at most; read back they are ours again."""
    sent = quirks_of("okx").encode_id(client_id)
    assert re.fullmatch("[A-Za-z0-9]{1,32}", sent)
    assert quirks_of("okx").decode_id(sent) == client_id


def record(number: int, at_ms: int = NOW_MS, **info: Any) -> dict[str, Any]:
    """A record as ccxt gives it."""
    return {"id": str(number), "timestamp": at_ms, "info": info}


def test_forward_by_id_after_the_first_page() -> None:
    """From a time, then from the id after the newest; a time of 0 means the first id."""
    pages = Forward(2, "fromId")
    assert pages.first(0, NOW_MS) == Ask(params={"fromId": 0})
    assert pages.first(5, NOW_MS) == Ask(5)
    page = [record(9), record(10)]
    assert pages.following(Ask(5), page, True, NOW_MS) == Ask(params={"fromId": 11})
    assert pages.following(Ask(5), page[:1], True, NOW_MS) is None
    assert pages.following(Ask(5), page, False, NOW_MS) is None


@pytest.mark.parametrize("since_ms", [0, -60_000])
def test_no_day_lies_before_the_first_id(since_ms: int) -> None:
    """An order without a time, less the overlap, is asked for from the first id: not from 1970 day by day."""
    assert ByDay(2, "fromId").first(since_ms, NOW_MS) == Ask(params={"fromId": 0})


def test_backward_from_the_lowest_id() -> None:
    """By number, not by text, and within the time that was asked for."""
    pages = Backward(2, "billId")
    assert pages.first(0, NOW_MS) == Ask()
    page = [record(1, billId="100"), record(2, billId="99")]
    assert pages.following(Ask(5), page, True, NOW_MS) == Ask(5, {"after": "99"})
    assert pages.following(Ask(5), page[:1], True, NOW_MS) is None


def test_a_short_page_may_have_a_successor() -> None:
    """The answer's word counts, as long as it is a new one."""
    pages = ByCursor(2)
    second = pages.following(Ask(), [record(1, nextPageCursor="x")], True, NOW_MS)
    assert second == Ask(params={"cursor": "x"})
    assert pages.following(second, [record(1, nextPageCursor="x")], False, NOW_MS) is None
    assert pages.following(second, [], False, NOW_MS) is None


def weeks(since_ms: int, busy: Callable[[int, int], bool], oldest_ms: int = NOW_MS) -> list[Ask]:
    """Everything that is asked for, where `busy(start, end)` tells which weeks hold anything."""
    pages, asked = ByWeek(2, 729 * DAY_MS, 13), []
    ask: Ask | None = pages.first(since_ms, NOW_MS)
    while ask is not None:
        asked.append(ask)
        end_ms = ask.params.get("endTime", (ask.since_ms or 0) + WEEK_MS)
        page = [record(1)] if busy(ask.since_ms or 0, end_ms) else []
        ask = pages.following(ask, page, bool(page), oldest_ms)
    return asked


def test_weeks_back_to_the_time_asked_for() -> None:
    """Without a gap, however quiet they are; the latest reaches beyond now."""
    since_ms = NOW_MS - 200 * DAY_MS
    asked = weeks(since_ms, lambda start, end: False)
    assert len(asked) == 29
    assert (asked[0].since_ms or 0) + WEEK_MS > NOW_MS
    ends = [ask.params["endTime"] for ask in asked[1:]]
    assert ends == [ask.since_ms for ask in asked[:-1]]
    assert asked[-1].since_ms == since_ms
    assert weeks(NOW_MS - DAY_MS, lambda start, end: False) == [Ask(NOW_MS - DAY_MS, {}, NOW_MS - DAY_MS, -(2**31))]


def test_the_search_for_the_oldest_ends_in_silence() -> None:
    """A quarter of a year before all that is known; at the latest where the exchange's memory ends."""
    assert len(weeks(0, lambda start, end: False)) == 13
    moment = NOW_MS - 80 * DAY_MS
    assert len(weeks(0, lambda start, end: start <= moment <= end)) == 12 + 13
    assert len(weeks(0, lambda start, end: False, oldest_ms=NOW_MS - 300 * DAY_MS)) == 42 + 13
    everything = weeks(0, lambda start, end: True)
    assert everything[-1].since_ms == NOW_MS - 729 * DAY_MS


def test_recent_trades_need_one_list_only() -> None:
    """OKX keeps the latest days apart; whoever asks for more reads both."""
    okx = quirks_of("okx")
    assert [one.method for one in okx.trades_since(NOW_MS - DAY_MS, NOW_MS)] == ["fetch_recent_trades"]
    both = ["fetch_my_trades", "fetch_recent_trades"]
    assert [one.method for one in okx.trades_since(NOW_MS - 3 * DAY_MS, NOW_MS)] == both
    assert [one.method for one in quirks_of("binance").trades_since(0, NOW_MS)] == ["fetch_my_trades"]


def test_a_ticker_without_a_time_is_as_old_as_the_question() -> None:
    """One with a time keeps it, however old."""
    prices = {"bid": 1.0, "ask": 1.1, "last": 1.0}
    for stamp, wanted in ((None, NOW_MS), (NOW_MS - DAY_MS, NOW_MS - DAY_MS + 7)):
        ticker = ticker_of("BTC/USDT", prices | {"timestamp": stamp}, lambda at_ms: at_ms + 7, NOW_MS)
        assert ticker is not None
        assert ticker.at_ms == wanted
    assert ticker_of("BTC/USDT", {}, lambda at_ms: at_ms, NOW_MS) is None


def test_where_real_orders_may_go() -> None:
    """The list in the message is that of the exchanges that may be traded."""
    for name in ("binance", "okx", "bybit"):
        assert live_problems(ExchangeSettings(id=name, password=SecretStr("p"))) == []
    with pytest.raises(ConfigError, match=r"was not shown to refuse .* real orders go to binance, bybit, okx"):
        live_exchange(ExchangeSettings(id="kraken"))


def test_every_exchange_of_ccxt_is_known_and_no_other() -> None:
    """Though ccxt is not imported to tell."""
    assert not any(id_problems(ExchangeSettings(id=name)) for name in ccxt.async_support.exchanges)
    for name in ("nosuch", "base", "paper"):
        (problem,) = id_problems(ExchangeSettings(id=name))
        assert (problem.field, problem.rule) == ("exchange.id", "ccxt knows no such exchange")


async def test_an_unknown_exchange_is_refused_on_paper_too() -> None:
    """Before anything asks it for prices."""
    with pytest.raises(ConfigError, match="ccxt knows no such exchange"):
        await open_exchange(Settings(exchange=ExchangeSettings(id="nosuch")), connect("redis://127.0.0.1:1"))


def test_all_that_stands_against_real_orders_is_told_at_once() -> None:
    """Unproven, features, pass phrase, sandbox; each only where its own field is sound."""
    settings = ExchangeSettings(id="kucoin", sandbox=True)
    assert [problem.field for problem in live_problems(settings)] == [
        "exchange.id",
        "exchange.password",
        "exchange.sandbox",
    ]
    assert [problem.field for problem in live_problems(settings, lambda name: name != "sandbox")] == [
        "exchange.id",
        "exchange.password",
    ]
    assert live_problems(settings, lambda name: name != "id") == []


async def test_a_missing_pass_phrase_is_said_at_once() -> None:
    """OKX wants one; Bybit does not."""
    for name in ("okx", "bybit"):
        settings = ExchangeSettings(id=name, api_key=SecretStr("k"), secret=SecretStr("s"))
        exchange = ccxt_exchange(settings)
        assert exchange.precisionMode == ccxt.TICK_SIZE
        if name == "okx":
            with pytest.raises(ConfigError, match="GRIDFLOW_EXCHANGE__PASSWORD"):
                live_exchange(settings)
        else:
            assert live_problems(settings) == []
        await exchange.close()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("binance", "https://api.binance.com"),
        ("binance", "https://API.Binance.com.:443/api/v3"),
        ("binance", "http://fapi.binance.com/"),
        ("bybit", "https://api.bybit.com"),
        ("binance", "https://api1.binance.com"),  # as live as the others, and not on ccxt's list
        ("okx", "https://aws.okx.com"),
        ("binance", "https://proxy.example.org/binance"),
        ("binance", "https://testnet.binance.vision.example.org"),
        ("binance", "https://127.0.0.1.example.org"),
    ],
)
def test_a_sandbox_on_another_host_is_refused(name: str, url: str) -> None:
    """`api_url` comes after the sandbox's own URLs: its orders might be real ones."""
    settings = ExchangeSettings(id=name, sandbox=True, api_url=url)
    with pytest.raises(ConfigError) as refused:
        ccxt_exchange(settings)
    (problem,) = refused.value.problems
    assert (problem.field, problem.value) == ("exchange.api_url", url)
    assert "might be real" in problem.rule
    assert "Remove api_url" in problem.remedy


@pytest.mark.parametrize(
    ("name", "sandbox", "url"),
    [
        ("binance", True, "http://127.0.0.1:9"),
        ("binance", False, "https://proxy.example.org/binance"),
        ("binance", True, "https://testnet.binance.vision"),
        ("binance", False, "https://api.binance.com"),
        ("bybit", True, "https://api-testnet.bybit.com"),
        ("okx", True, "https://www.okx.com"),
    ],
)
async def test_other_hosts_are_not_refused(name: str, sandbox: bool, url: str) -> None:
    """A test net, this machine, the live host for real orders; OKX's one host serves both."""
    exchange = ccxt_exchange(ExchangeSettings(id=name, sandbox=sandbox, api_url=url))
    assert exchange.isSandboxModeEnabled is sandbox
    await exchange.close()


@pytest.mark.parametrize("name", ["okx", "bybit"])
async def test_a_request_that_brings_no_time_is_signed_now(name: str) -> None:
    """Also after one that did, and after one that failed while being signed."""
    settings = ExchangeSettings(id=name, api_key=SecretStr("k"), secret=SecretStr("s"), password=SecretStr("p"))
    exchange = ccxt_exchange(settings)
    path = "trade/order" if name == "okx" else "v5/order/create"
    signed = exchange.sign(path, ["private"], "POST", {"timestamp": 1, "expTime": "2", "recvWindow": 3, "clOrdId": "a"})
    assert '"timestamp"' not in signed["body"]
    exchange.secret = ""
    with pytest.raises(ccxt.BaseError):
        exchange.sign(path, ["private"], "POST", {"timestamp": 1})
    assert exchange.nonce() > 1_700_000_000_000
    if name == "bybit":
        assert exchange.options["recvWindow"] == 5000
    await exchange.close()
