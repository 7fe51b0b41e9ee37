"""Where exchanges differ: order ids, pages, missing times, and where real orders may go."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import ccxt
import pytest
from pydantic import SecretStr

from tasks.base.errors import ConfigError
from tasks.base.redis_client import connect
from tasks.exchange.connect import ccxt_exchange, live_exchange
from tasks.exchange.live_checks import id_problems, live_problems
from tasks.exchange.parsing import ticker_of
from tasks.exchange.venues.pages import WEEK_MS, Backward, ByCursor, ByDay, ByWeek, Forward, PageRequest
from tasks.exchange.venues.registry import live_exchanges, venue_of
from tasks.exchange.venues.unlisted import described_venue
from tasks.exchange.venues.venue import Venue
from tasks.settings.model import ExchangeSettings, Settings
from tasks.tick.exchange_factory import open_exchange

ROOT = Path(__file__).parents[2]
DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_795_000_000_000


def test_the_template_names_every_field() -> None:
    """In the table of what a venue must give stand the fields without a default, in the other one the rest."""
    text = (ROOT / "tasks/exchange/venues/venue.py").read_text(encoding="utf-8").split('"""')[1]
    must, may = text.split("| A venue MAY give")
    for table, wanted in ((must, True), (may, False)):
        named = [
            name for row in re.findall(r"^\| (.*?)[:|]", table, re.MULTILINE) for name in re.findall("`(.*?)`", row)
        ]
        assert named == [field.name for field in fields(Venue) if is_required(field) is wanted]


def is_required(field: Any) -> bool:
    """Whether a venue has to give it."""
    return field.default is MISSING and field.default_factory is MISSING


@pytest.mark.parametrize("name", live_exchanges())
def test_a_listed_venue_says_the_same_as_ccxt(name: str) -> None:
    """Credentials and features; a sandbox host that ccxt does not know would not be its sandbox."""
    venue, described = venue_of(name), described_venue(name)
    assert venue.credentials == described.credentials
    assert described.missing_features == venue.missing_features == ()
    assert venue.sandbox_hosts
    assert venue.sandbox_hosts <= described.sandbox_hosts


def test_checks_of_the_settings_do_not_import_ccxt() -> None:
    """It takes seconds, and 90 MB for as long as the process runs."""
    code = """
import sys
from tasks.settings.model import ExchangeSettings
from tasks.exchange.live_checks import live_problems, reach_problems
from tasks.exchange.venues.registry import live_exchanges
for name in live_exchanges():
    live_problems(ExchangeSettings(id=name, sandbox=True)), reach_problems(ExchangeSettings(id=name))
print(sorted(name for name in sys.modules if name.partition(".")[0] == "ccxt"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("client_id", ["g1a2b3c4d-12-b-7", "gdeadbeef-999-s-999999999999999", "g00000000-0-b-0"])
def test_okx_takes_our_ids(client_id: str) -> None:
    """Letters and digits, 32 of them at most; read back they are ours again."""
    sent = venue_of("okx").encode_order_id(client_id)
    assert re.fullmatch("[A-Za-z0-9]{1,32}", sent)
    assert venue_of("okx").decode_order_id(sent) == client_id


def record(number: int, at_ms: int = NOW_MS, **info: Any) -> dict[str, Any]:
    """A record as ccxt gives it."""
    return {"id": str(number), "timestamp": at_ms, "info": info}


def test_forward_by_id_after_the_first_page() -> None:
    """From a time, then from the id after the newest; a time of 0 means the first id."""
    pages = Forward(2, "fromId")
    assert pages.first(0, NOW_MS) == PageRequest(params={"fromId": 0})
    assert pages.first(5, NOW_MS) == PageRequest(5)
    page = [record(9), record(10)]
    assert pages.next(PageRequest(5), page, True, NOW_MS) == PageRequest(params={"fromId": 11})
    assert pages.next(PageRequest(5), page[:1], True, NOW_MS) is None
    assert pages.next(PageRequest(5), page, False, NOW_MS) is None


@pytest.mark.parametrize("since_ms", [0, -60_000])
def test_no_day_lies_before_the_first_id(since_ms: int) -> None:
    """An order without a time, less the overlap, is asked for from the first id: not from 1970 day by day."""
    assert ByDay(2, "fromId").first(since_ms, NOW_MS) == PageRequest(params={"fromId": 0})


def test_backward_from_the_lowest_id() -> None:
    """By number, not by text, and within the time that was asked for."""
    pages = Backward(2, "billId")
    assert pages.first(0, NOW_MS) == PageRequest()
    page = [record(1, billId="100"), record(2, billId="99")]
    assert pages.next(PageRequest(5), page, True, NOW_MS) == PageRequest(5, {"after": "99"})
    assert pages.next(PageRequest(5), page[:1], True, NOW_MS) is None


def test_a_short_page_may_have_a_successor() -> None:
    """The answer's word counts, as long as it is a new one."""
    pages = ByCursor(2)
    second = pages.next(PageRequest(), [record(1, nextPageCursor="x")], True, NOW_MS)
    assert second == PageRequest(params={"cursor": "x"})
    assert pages.next(second, [record(1, nextPageCursor="x")], False, NOW_MS) is None
    assert pages.next(second, [], False, NOW_MS) is None


def weeks(since_ms: int, busy: Callable[[int, int], bool], oldest_ms: int = NOW_MS) -> list[PageRequest]:
    """Everything that is asked for, where `busy(start, end)` tells which weeks hold anything."""
    pages, asked = ByWeek(2, 729 * DAY_MS, 13), []
    request: PageRequest | None = pages.first(since_ms, NOW_MS)
    while request is not None:
        asked.append(request)
        end_ms = request.params.get("endTime", (request.since_ms or 0) + WEEK_MS)
        page = [record(1)] if busy(request.since_ms or 0, end_ms) else []
        request = pages.next(request, page, bool(page), oldest_ms)
    return asked


def test_weeks_back_to_the_time_asked_for() -> None:
    """Without a gap, however quiet they are; the latest reaches beyond now."""
    since_ms = NOW_MS - 200 * DAY_MS
    asked = weeks(since_ms, lambda start, end: False)
    assert len(asked) == 29
    assert (asked[0].since_ms or 0) + WEEK_MS > NOW_MS
    ends = [request.params["endTime"] for request in asked[1:]]
    assert ends == [request.since_ms for request in asked[:-1]]
    assert asked[-1].since_ms == since_ms
    assert weeks(NOW_MS - DAY_MS, lambda start, end: False) == [
        PageRequest(NOW_MS - DAY_MS, {}, NOW_MS - DAY_MS, -(2**31))
    ]


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
    okx = venue_of("okx")
    assert [one.method for one in okx.trades_since(NOW_MS - DAY_MS, NOW_MS)] == ["fetch_recent_trades"]
    both = ["fetch_my_trades", "fetch_recent_trades"]
    assert [one.method for one in okx.trades_since(NOW_MS - 3 * DAY_MS, NOW_MS)] == both
    assert [one.method for one in venue_of("binance").trades_since(0, NOW_MS)] == ["fetch_my_trades"]


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
    for name in live_exchanges():
        assert live_problems(ExchangeSettings(id=name, password=SecretStr("p"))) == []
    names = ", ".join(live_exchanges())
    with pytest.raises(ConfigError, match=rf"was not shown to refuse .* real orders go to {names}"):
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
    assert [problem.field for problem in live_problems(settings, lambda *names: "sandbox" not in names)] == [
        "exchange.id",
        "exchange.password",
    ]
    assert live_problems(settings, lambda *names: "id" not in names) == []


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
