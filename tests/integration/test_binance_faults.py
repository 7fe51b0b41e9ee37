"""Every fault of the loopback exchange, as the real ccxt client meets it."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tasks.base.errors import ExchangeUnavailable
from tasks.exchange.client import CcxtClient
from tasks.exchange.models import Rejected, Unknown
from tasks.exchange.parsing import error_text, refusal_of
from tests.support.binance.desk import real_ccxt
from tests.support.binance.faults import Chance, Fault, FaultKind
from tests.support.binance.server import LocalExchange, exchange_process, local_exchange
from tests.support.candles import write_candles
from tests.support.desk import BTC, walk


@pytest.fixture
async def server() -> AsyncIterator[LocalExchange]:
    """A walk of 60 candles from 42000."""
    async with local_exchange({BTC: walk(60)}) as exchange:
        yield exchange


@pytest.fixture
async def binance(server: LocalExchange) -> AsyncIterator[Any]:
    """ccxt.binance on that server, its markets loaded."""
    exchange = real_ccxt(server)
    await exchange.load_markets()
    yield exchange
    await exchange.close()


def on_order(kind: FaultKind, **fields: Any) -> Fault:
    """A fault of new orders."""
    return Fault(kind=kind, method="POST", path="order", **fields)


async def buy(binance: Any, client_id: str = "one", price: float = 41_000) -> Any:
    """A resting buy."""
    return await binance.create_order(BTC, "limit", "buy", 0.001, price, {"clientOrderId": client_id})


RAISED = [
    (on_order(FaultKind.DROP_BEFORE), ccxt.ExchangeNotAvailable, False),
    (on_order(FaultKind.DROP_AFTER), ccxt.ExchangeNotAvailable, True),
    (on_order(FaultKind.ERROR_BEFORE), ccxt.ExchangeNotAvailable, False),
    (on_order(FaultKind.ERROR_AFTER, status=503), ccxt.ExchangeNotAvailable, True),
    (on_order(FaultKind.RATE_LIMIT, seconds=7), ccxt.DDoSProtection, False),
    (on_order(FaultKind.BAN, seconds=60), ccxt.DDoSProtection, False),
    (on_order(FaultKind.CLOCK_DRIFT, ms=60_000), ccxt.InvalidNonce, False),
    (on_order(FaultKind.CLOCK_DRIFT, ms=-60_000), ccxt.InvalidNonce, False),
    (on_order(FaultKind.OUTAGE, seconds=60), ccxt.ExchangeNotAvailable, False),
]


@pytest.mark.parametrize(("fault", "kind", "placed"), RAISED)
async def test_what_a_new_order_meets(
    binance: Any, server: LocalExchange, fault: Fault, kind: type[Exception], placed: bool
) -> None:
    """The same exception may hide an order that exists and one that does not."""
    await server.inject(fault)
    with pytest.raises(kind):
        await buy(binance)
    record = await server.record()
    assert (len(record.orders) == 1) is placed
    assert [fired.kind for fired in record.faults] == [fault.kind.value]
    await server.clear_faults()
    assert (await buy(binance, "two"))["id"]


@pytest.mark.parametrize(
    ("fault_kind", "placed"), [(FaultKind.TRUNCATED, 1), (FaultKind.HTML_AFTER, 1), (FaultKind.HTML_BEFORE, 0)]
)
async def test_a_spoilt_answer_with_200_tells_nothing_of_the_order(
    binance: Any, server: LocalExchange, fault_kind: FaultKind, placed: int
) -> None:
    """The same exception, whether or not it was placed. ccxt alone returns an order without an id."""
    await server.inject(on_order(fault_kind))
    with pytest.raises(ccxt.BadResponse):
        await buy(binance)
    assert len((await server.record()).orders) == placed


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED, FaultKind.HTML_BEFORE])
async def test_a_spoilt_read_is_not_an_empty_answer(binance: Any, server: LocalExchange, kind: FaultKind) -> None:
    """From half a list of trades, ccxt alone reads an empty list where a start time is asked for."""
    client = CcxtClient(binance)
    await buy(binance)
    await server.fill("one")
    since_ms = binance.milliseconds() - 60_000
    reads: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("myTrades", lambda: client.trades(BTC, since_ms)),
        ("openOrders", lambda: client.open_orders(BTC)),
        ("allOrders", lambda: client.orders(BTC)),
        ("account", client.balances),
        ("ticker/24hr", lambda: client.ticker(BTC)),
    ]
    for path, read in reads:
        await read()
        await server.inject(Fault(kind=kind, path=path))
        with pytest.raises(ExchangeUnavailable):
            await read()


@pytest.mark.parametrize(("kind", "placed"), [(FaultKind.DELAY_BEFORE, 0), (FaultKind.DELAY_AFTER, 1)])
async def test_slow_answers(binance: Any, server: LocalExchange, kind: FaultKind, placed: int) -> None:
    """The client gives up; what it asked for is done later, or has long been done."""
    await server.inject(on_order(kind, seconds=1.5))
    binance.timeout = 100
    with pytest.raises(ccxt.RequestTimeout):
        await buy(binance)
    assert len((await server.record()).orders) == placed
    while not (await server.record()).orders:  # noqa: ASYNC110 - the exchange tells nobody
        await asyncio.sleep(0.05)
    assert len((await server.record()).orders) == 1


async def test_a_delayed_request_grows_too_old(binance: Any, server: LocalExchange) -> None:
    """The time stamp is looked at when the exchange gets to the request."""
    await server.inject(on_order(FaultKind.DELAY_BEFORE, seconds=0.4))
    with pytest.raises(ccxt.InvalidNonce):
        await binance.create_order(BTC, "limit", "buy", 0.001, 41_000, {"recvWindow": 200})
    assert (await server.record()).orders == ()


READS: list[tuple[str, Callable[[Any], Awaitable[Any]]]] = [
    ("openOrders", lambda binance: binance.fetch_open_orders(BTC)),
    ("myTrades", lambda binance: binance.fetch_my_trades(BTC)),
    ("account", lambda binance: binance.fetch_balance()),
    ("order", lambda binance: binance.fetch_order(None, BTC, {"clientOrderId": "one"})),
]


@pytest.mark.parametrize(("path", "read"), READS)
@pytest.mark.parametrize("ago", [{"requests": 2}, {"seconds": 1.5}])
async def test_stale_reads(
    binance: Any, server: LocalExchange, path: str, read: Callable[[Any], Awaitable[Any]], ago: dict[str, Any]
) -> None:
    """A read shows the world as it was some requests or seconds ago, then as it is."""
    await buy(binance)
    await asyncio.sleep(1.6 if "seconds" in ago else 0)
    before = await read(binance)
    await server.fill("one")
    await binance.fetch_ticker(BTC)
    await server.inject(Fault(kind=FaultKind.STALE, path=path, **ago))
    stale, fresh = await read(binance), await read(binance)
    for answer in (before, stale, fresh):
        if isinstance(answer, dict):
            for name in ("info", "timestamp", "datetime"):  # a balance carries the time of the answer
                answer.pop(name)
    assert stale == before
    assert fresh != before


async def test_a_fill_just_before_the_cancel(binance: Any, server: LocalExchange) -> None:
    """The cancel finds nothing to cancel; the trade is there."""
    order = await buy(binance)
    await server.inject(Fault(kind=FaultKind.FILL_ON_CANCEL))
    with pytest.raises(ccxt.OrderNotFound):
        await binance.cancel_order(order["id"], BTC)
    assert (await binance.fetch_order(order["id"], BTC))["status"] == "closed"


async def test_doubled_and_shuffled_trades(binance: Any, server: LocalExchange) -> None:
    """As sent by the exchange; ccxt sorts what it returns by time."""
    for _ in range(4):
        await binance.create_order(BTC, "market", "buy", 0.001)
    ids = [row["id"] for row in await binance.private_get_mytrades({"symbol": "BTCUSDT"})]
    await server.inject(Fault(kind=FaultKind.DUPLICATE_TRADES))
    doubled = [row["id"] for row in await binance.private_get_mytrades({"symbol": "BTCUSDT"})]
    await server.inject(Fault(kind=FaultKind.SHUFFLED_TRADES))
    shuffled = [row["id"] for row in await binance.private_get_mytrades({"symbol": "BTCUSDT"})]
    assert doubled == sorted(ids * 2)
    assert shuffled != ids
    assert sorted(shuffled) == ids


async def test_the_clock_drifts_until_told_otherwise(binance: Any, server: LocalExchange) -> None:
    """Signed calls fail; the exchange's own time tells by how much."""
    await server.drift(-30_000)
    with pytest.raises(ccxt.InvalidNonce):
        await binance.fetch_balance()
    assert await binance.fetch_time() == pytest.approx(time.time() * 1000 - 30_000, abs=1000)


async def test_an_outage_ends(binance: Any, server: LocalExchange) -> None:
    """By itself, or when told."""
    await server.outage(1.0)
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await binance.fetch_ticker(BTC)
    await asyncio.sleep(1.05)
    await binance.fetch_ticker(BTC)
    await server.outage()
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await binance.fetch_ticker(BTC)
    await server.clear_faults()
    await binance.fetch_ticker(BTC)


async def test_counted_faults_skip_and_match(binance: Any, server: LocalExchange) -> None:
    """The second and third buy fail; sells are not touched."""
    await server.inject(on_order(FaultKind.ERROR_BEFORE, match={"side": "BUY"}), count=2, skip=1)
    answers = []
    for number in range(4):
        try:
            await buy(binance, f"buy-{number}")
            answers.append(True)
        except ccxt.ExchangeNotAvailable:
            answers.append(False)
    assert answers == [True, False, False, True]


async def test_a_seeded_plan_replays(binance: Any, server: LocalExchange) -> None:
    """The same seed and requests meet the same faults; another seed others."""

    async def run(seed: int) -> list[tuple[int, str]]:
        await server.reset()
        await server.use_plan(
            seed,
            Chance(fault=Fault(kind=FaultKind.ERROR_BEFORE, path="ticker/24hr"), probability=0.2),
            Chance(fault=Fault(kind=FaultKind.HTML_BEFORE), probability=0.2),
        )
        for _ in range(40):
            try:
                await binance.fetch_ticker(BTC)
            except (ccxt.ExchangeNotAvailable, ccxt.BadResponse):
                continue
        return [(fault.request, fault.kind) for fault in (await server.record()).faults]

    first = await run(7)
    assert {kind for _, kind in first} == {"error_before", "html_before"}
    assert 8 <= len(first) <= 24
    assert await run(7) == first
    assert await run(8) != first


async def test_a_process_of_its_own(tmp_path: Path) -> None:
    """The same exchange behind control endpoints: it moves, fails, fills and tells what it saw."""
    async with exchange_process(write_candles(tmp_path, 20)) as server:
        binance = real_ccxt(server)
        await buy(binance)
        assert await server.advance(3) == 9
        await server.inject(on_order(FaultKind.DROP_AFTER))
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await buy(binance, "two")
        await server.configure(maker_fee=Decimal("0.002"))
        await server.fill("two", Decimal("0.0004"))
        await server.use_plan(1, Chance(fault=Fault(kind=FaultKind.BAN), probability=1))
        with pytest.raises(ccxt.DDoSProtection):
            await binance.fetch_ticker(BTC)
        record = await server.record()
        assert [order.client_id for order in record.orders] == ["one", "two"]
        assert (record.orders[1].executed, record.trades[0].fee) == (Decimal("0.0004"), Decimal("0.0328"))
        assert [fault.kind for fault in record.faults] == ["drop_after", "ban"]
        await server.reset()
        assert (await server.record()).orders == ()
        await binance.close()


SIGNED_CALLS: list[Callable[[CcxtClient], Awaitable[Any]]] = [
    lambda client: client.balances(),
    lambda client: client.open_orders(BTC),
    lambda client: client.trades(BTC, 0),
    lambda client: client.order(BTC, "one"),
]


@pytest.mark.parametrize("kind", [FaultKind.OUTAGE, FaultKind.ERROR_BEFORE])
@pytest.mark.parametrize("call", SIGNED_CALLS)
async def test_no_signature_is_kept_of_a_failed_read(
    server: LocalExchange, binance: Any, kind: FaultKind, call: Callable[[CcxtClient], Awaitable[Any]]
) -> None:
    """ccxt's error has the signed URL; ours has its path alone, in its text and in its whole traceback."""
    client = CcxtClient(binance)
    await server.inject(Fault(kind=kind, method="GET", seconds=1))
    with pytest.raises(ExchangeUnavailable) as failed:
        await call(client)
    shown = "".join(traceback.format_exception(failed.value))
    assert "/api/v3/" in str(failed.value)
    assert "signature=" not in shown
    assert "timestamp=" not in shown


def test_no_signature_is_kept_of_a_failed_order() -> None:
    """Whatever it means; what stands around the query stays."""
    said = 'binance POST https://api.binance.com/api/v3/order?timestamp=1&signature=ab 400 {"msg":"no"}'
    for kind in (ccxt.RequestTimeout, ccxt.InvalidOrder, ccxt.DuplicateOrderId):
        answer = refusal_of(kind(said), "one")
        assert isinstance(answer, Rejected | Unknown)
        assert answer.detail.endswith('binance POST https://api.binance.com/api/v3/order 400 {"msg":"no"}')
    assert (
        error_text(ValueError("'https://host/a?b=c&d' is not 'https://host/e?f'."))
        == "'https://host/a' is not 'https://host/e'."
    )
