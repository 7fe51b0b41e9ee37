"""Live trading on OKX and Bybit: through the real ccxt clients, on loopback servers as strict as the real ones.

Everything runs in virtual time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasks.base.errors import ExchangeUnavailable, RejectReason
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.exchange import client as client_module
from tasks.exchange.client import CcxtClient
from tasks.exchange.connect import ccxt_exchange
from tasks.exchange.models import Accepted, Grant, OrderRequest, OrderStatus, Placement, Rejected, Side, Unknown
from tasks.exchange.shared_client import SharedReads
from tasks.funds.allocator import GlobalFundAllocator
from tasks.ledger.steps import audit_funds
from tasks.settings.model import ExchangeSettings
from tasks.tick.desk import Desk
from tasks.tick.exchange_factory import open_exchange
from tasks.tick.trader import GridTrader
from tests.support.binance.config import API_KEY, SECRET, Config, SymbolRules
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.record import sent_twice
from tests.support.binance.server import LocalExchange
from tests.support.desk import BTC, QUICK, settings, walk
from tests.support.fault_check import check_books, settle
from tests.support.venues.bybit import Bybit
from tests.support.venues.desk import VirtualVenue, venue_settings, virtual_venue, virtual_venue_desk
from tests.support.venues.okx import PASSPHRASE, Okx
from tests.support.venues.venue import DAY_MS, Call, Lie, Refusal, Venue
from tests.support.virtual.exchange import join_socket
from tests.support.virtual.loop import virtual_clock
from tests.support.virtual.redis import VirtualRedis, virtual_redis

pytestmark = pytest.mark.virtual_time

ETH = "ETH/USDT"
PLACE = {"okx": "trade/order", "bybit": "order/create"}
RICH = {"USDT": Decimal(10_000_000)}
GRIDS = {
    "whole": Config(fee_currency="base"),
    "in parts": Config(fee_currency="base", fill_parts=3),
    "partly": Config(fee_currency="base", partial_share=0.4, partial_chance=0.7),
    "fees in quote": Config(),
}


@pytest.fixture(scope="module")
def redis_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualRedis]:
    """A Redis server in virtual time."""
    with virtual_redis(tmp_path_factory.mktemp("redis")) as world:
        yield world


@pytest.fixture
async def redis(redis_world: VirtualRedis) -> AsyncIterator[RedisClient]:
    """A client of it, empty."""
    await redis_world.forget()
    client = redis_world.client(random.Random(1))
    yield client
    await client.aclose()


@pytest.fixture(params=["okx", "bybit"])
def name(request: pytest.FixtureRequest) -> str:
    """Each exchange in turn."""
    return str(request.param)


@dataclass
class Stand:
    """One exchange and a client on it. `ccxt` is what the client stands on."""

    at: VirtualVenue
    ccxt: Any
    client: CcxtClient

    @property
    def name(self) -> str:
        """The exchange's id."""
        return self.at.exchange_id

    @property
    def venue(self) -> Venue:
        """The exchange itself."""
        return self.at.venue

    @property
    def server(self) -> LocalExchange:
        """What moves it."""
        return self.at.server

    async def place(self, client_id: str = "gf1a2-b3c4d-12-b-7", **changes: Any) -> Placement:
        """A resting buy of 0.001, signed now and good for two seconds."""
        fields: dict[str, Any] = {
            "grant": Grant(client_id=client_id, units=0, fence=1),
            "client_id": client_id,
            "symbol": BTC,
            "side": Side.BUY,
            "price": Decimal(41_000),
            "qty": Decimal("0.001"),
            "signed_at_ms": now_ms(),
            "valid_ms": 2000,
        }
        (placement,) = await self.client.place([OrderRequest(**(fields | changes))])
        return placement

    def lie(self, code: str, message: str, *, done: bool) -> None:
        """Let the next order request be answered so, after it was done or not."""
        refusal = Refusal(code, message, of_order=self.name == "okx" and code.startswith("51"))
        self.venue.lies.append(Lie(PLACE[self.name], refusal, done))


def now_ms() -> int:
    """Our clock."""
    return virtual_clock().ms()


def stand_at(at: VirtualVenue) -> Stand:
    """A stand on the exchange, its markets not loaded yet."""
    exchange = at.ccxt()
    return Stand(at, exchange, CcxtClient(exchange))


@pytest.fixture
async def stand(name: str, tmp_path: Path) -> AsyncIterator[Stand]:
    """The exchange at 42000, its markets loaded."""
    async with virtual_venue(name, tmp_path, {BTC: walk(5)}, config()) as at:
        stand = stand_at(at)
        await stand.client.markets([BTC])
        yield stand
        await stand.client.close()


def config(**changes: Any) -> Config:
    """A rich account that may have many orders; fees out of what is received."""
    fields: dict[str, Any] = {
        "balances": RICH,
        "symbols": {BTC: SymbolRules(symbol=BTC, max_orders=500)},
        "fee_currency": "base",
    }
    return Config(**(fields | changes))


# ---- a grid


@pytest.mark.parametrize("kind", GRIDS)
async def test_a_grid_over_60_candles(redis: RedisClient, tmp_path: Path, name: str, kind: str) -> None:
    """Both sides' books agree, and without a fault every request is answered well."""
    own = settings(trading={"request_valid_seconds": "5", "protection_seconds": "6", "lease_seconds": 1})
    async with (
        virtual_venue(name, tmp_path, {BTC: walk(60, step_bp=60)}, GRIDS[kind]) as at,
        virtual_venue_desk(at, redis, own) as desk,
    ):
        trader = await desk.trader()
        for _ in range(60):
            await trader.tick()
            await desk.server.advance(1)
        await settle(trader)
        record = await desk.server.record()
        await check_books(desk, record)  # type: ignore[arg-type]
        assert {row.outcome for row in record.requests} == {"200"}
        assert len(record.trades) > 30
        assert {trade.side for trade in record.trades} == {"BUY", "SELL"}


async def test_a_grid_whose_answers_get_lost(redis: RedisClient, tmp_path: Path, name: str) -> None:
    """Orders that were taken without our hearing of it are found by their ids; none is sent twice."""
    async with (
        virtual_venue(name, tmp_path, {BTC: walk(40)}) as at,
        virtual_venue_desk(at, redis, settings(trading=QUICK)) as desk,
    ):
        trader = await desk.trader()
        lost = Fault(kind=FaultKind.DROP_AFTER, method="POST", path=PLACE[name])
        never = Fault(kind=FaultKind.DROP_BEFORE, method="POST", path=PLACE[name])
        half = Fault(kind=FaultKind.TRUNCATED, method="POST", path=PLACE[name])
        for count in range(40):
            if count % 5 == 0:
                for fault in (lost, never, half):
                    await desk.server.inject(fault)
            await trader.tick()
            await desk.server.advance(1)
        await desk.server.clear_faults()
        await settle(trader)
        record = await desk.server.record()
        assert len(record.faults) > 5
        await check_books(desk, record)  # type: ignore[arg-type]


async def test_a_wiped_redis_is_rebuilt(redis: RedisClient, tmp_path: Path, name: str) -> None:
    """From open orders, history and trades alone; then trading goes on."""
    async with (
        virtual_venue(name, tmp_path, {BTC: walk(60)}) as at,
        virtual_venue_desk(at, redis, settings()) as desk,
    ):
        trader = await desk.trader()
        for count in range(50):
            if count == 30:
                await redis.flushall()
                await desk.desk.allocator.rebalance_if_needed(reason="start")
                trader = await desk.trader()
            await trader.tick()
            await desk.server.advance(1)
        await settle(trader)
        assert sent_twice(await desk.server.record()) == {}
        await check_books(desk, await desk.server.record())  # type: ignore[arg-type]


async def test_the_whole_way_of_a_live_worker(redis: RedisClient, tmp_path: Path, name: str) -> None:
    """As a worker opens it: shared readings of two symbols, and the shared rate budget before every request."""
    grid = {"grid": "geometric", "range_pct": "0.04", "cells": 6, "start": "balanced", "quote_per_cell": "100"}
    candles = {BTC: walk(10, step_bp=60), ETH: walk(10, step_bp=60, start="2280")}
    async with virtual_venue(name, tmp_path, candles) as at:
        server, clock = at.server, virtual_clock().now
        own = settings(
            exchange=venue_settings(name, server.url),
            symbols={BTC: grid, ETH: grid},
            trading={"request_valid_seconds": "20", "protection_seconds": "40"},
            live=True,
        )
        exchange = await open_exchange(own, redis, clock)
        assert isinstance(exchange, SharedReads)
        join_socket(exchange._exchange, at.socket)
        allocator = GlobalFundAllocator.from_settings(own, redis, clock)
        await allocator.rebalance_if_needed(reason="start")
        desk = Desk(own, redis, exchange, allocator, Keys(own.account), clock)
        markets = await exchange.markets([BTC, ETH])
        traders = [GridTrader(desk, markets[symbol], f"worker-{symbol}") for symbol in (BTC, ETH)]
        for _ in range(6):
            await asyncio.gather(*(trader.tick() for trader in traders))
            await server.advance(1)
        record = await server.record()
        assert {row.outcome for row in record.requests} == {"200"}
        assert sent_twice(record) == {}
        assert {trade.symbol for trade in record.trades} == {"BTCUSDT", "ETHUSDT"}
        report = await audit_funds(redis, desk.keys, [BTC, ETH], exchange)
        assert report.drift == ()
        await exchange.close()


# ---- stale requests


@pytest.fixture
def _unaware(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that froze after its own look at the clock: only the exchange can refuse what it sends."""
    monkeypatch.setattr(client_module, "send_by", lambda at_ms: nullcontext())


@pytest.mark.usefixtures("_unaware")
@pytest.mark.parametrize("age_ms", [1_500, 40_000])
async def test_a_stale_request_is_refused(stand: Stand, age_ms: int) -> None:
    """By the exchange, which never saw the order."""
    placement = await stand.place(signed_at_ms=now_ms() - age_ms, valid_ms=1000)
    assert isinstance(placement, Rejected)
    assert placement.reason is RejectReason.EXPIRED_REQUEST
    assert (await stand.server.record()).orders == ()
    assert isinstance(await stand.place(), Accepted)


@pytest.mark.usefixtures("_unaware")
async def test_okx_says_expired_in_its_other_way(tmp_path: Path) -> None:
    """As an order that expired, instead of a header in the past."""
    async with virtual_venue("okx", tmp_path, {BTC: walk(5)}, config()) as at:
        assert isinstance(at.venue, Okx)
        at.venue.expired = Refusal("50037", "Order expired.", of_order=True)
        stand = stand_at(at)
        await stand.client.markets([BTC])
        placement = await stand.place(signed_at_ms=now_ms() - 1500, valid_ms=1000)
        assert isinstance(placement, Rejected)
        assert placement.reason is RejectReason.EXPIRED_REQUEST
        await stand.client.close()


async def test_what_would_leave_too_late_is_not_sent(stand: Stand) -> None:
    """The client itself knows that the request is good no longer: the exchange never hears of it."""
    placement = await stand.place(signed_at_ms=now_ms() - 1001, valid_ms=1000)
    assert isinstance(placement, Rejected)
    assert placement.reason is RejectReason.NOT_SENT
    assert all(row.method == "GET" for row in (await stand.server.record()).requests)


@pytest.mark.usefixtures("_unaware")
async def test_a_worker_frozen_after_signing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it signed in time and sends too late is refused, though its signature is right."""
    send, signed = stand.ccxt.fetch, []

    async def frozen(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        if method == "POST":
            signed.append(now_ms())
            await asyncio.sleep(1.7)
        return await send(url, method, headers, body)

    monkeypatch.setattr(stand.ccxt, "fetch", frozen)
    intended = now_ms()
    placement = await stand.place(signed_at_ms=intended, valid_ms=1500)
    assert signed[0] - intended < 1500, "signed while it was still good"
    assert isinstance(placement, Rejected)
    assert placement.reason is RejectReason.EXPIRED_REQUEST
    assert (await stand.server.record()).orders == ()


async def test_the_intents_time_is_what_is_signed(stand: Stand) -> None:
    """Not the moment of signing; and it leaves the body, whose fields the server checks."""
    intended = now_ms() - 2000
    stand.ccxt.enableLastRequest = True
    assert isinstance(await stand.place(signed_at_ms=intended, valid_ms=7000), Accepted)
    headers = stand.ccxt.last_request_headers
    if stand.name == "okx":
        assert headers["expTime"] == str(intended + 7000)
        assert headers["OK-ACCESS-TIMESTAMP"] == stand.ccxt.iso8601(intended)
    else:
        assert (headers["X-BAPI-TIMESTAMP"], headers["X-BAPI-RECV-WINDOW"]) == (str(intended), "7000")
    await stand.client.balances()
    assert "expTime" not in stand.ccxt.last_request_headers
    assert stand.ccxt.last_request_headers.get("X-BAPI-RECV-WINDOW", "5000") == "5000"


@pytest.mark.parametrize("drift_ms", [-40_000, 40_000])
async def test_a_clock_that_is_off_is_mended_once(stand: Stand, drift_ms: int) -> None:
    """An order is refused, and the next one is right."""
    await stand.server.drift(drift_ms)
    placement = await stand.place()
    assert isinstance(placement, Rejected)
    assert placement.reason is RejectReason.EXPIRED_REQUEST
    assert isinstance(await stand.place("gf1a2-b3c4d-1-b-1"), Accepted)
    assert abs((await stand.client.ticker(BTC)).at_ms - now_ms()) < 2000
    assert [order.client_id for order in await stand.client.open_orders(BTC)] == ["gf1a2-b3c4d-1-b-1"]


async def test_a_read_mends_the_clock_by_itself(stand: Stand) -> None:
    """It goes out once more, with the right time."""
    await stand.server.drift(-40_000)
    assert (await stand.client.balances())["USDT"].free == RICH["USDT"]


@pytest.mark.parametrize("sandbox", [True, False])
async def test_okxs_sandbox_is_a_header_of_every_request(
    sandbox: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it arrives at the host that real orders go to: without it an order would be real, with it none is."""
    async with virtual_venue("okx", tmp_path, {BTC: walk(5)}, config()) as at:
        seen: list[tuple[str, str | None, bool]] = []
        check = at.venue.check

        def noted(call: Call) -> None:
            signed = "OK-ACCESS-SIGN" in call.headers
            seen.append((f"{call.method} {call.name}", call.headers.get("x-simulated-trading"), signed))
            check(call)

        monkeypatch.setattr(at.venue, "check", noted)
        exchange = ccxt_exchange(venue_settings("okx", at.server.url).model_copy(update={"sandbox": sandbox}))
        exchange.enableRateLimit = False
        stand = Stand(at, join_socket(exchange, at.socket), CcxtClient(exchange))
        await stand.client.markets([BTC])
        await at.server.drift(-40_000)
        placement = await stand.place()
        assert isinstance(placement, Rejected), "the clock is mended and the next one goes out"
        placement = await stand.place("gf1a2-b3c4d-1-b-1")
        assert isinstance(placement, Accepted)
        await stand.client.open_orders(BTC)
        await stand.client.all_open_orders()
        await stand.client.orders(BTC)
        await stand.client.trades(BTC, 0)
        await stand.client.balances()
        await stand.client.order(BTC, placement.order.client_id)
        await stand.client.cancel(BTC, [placement.order.exchange_id])
        await stand.client.close()
        assert {header for _, header, _ in seen} == {"1" if sandbox else None}
        signed = {name for name, _, is_signed in seen if is_signed}
        assert {"POST trade/order", "POST trade/cancel-order", "GET trade/order", "GET account/balance"} <= signed


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"qty": Decimal(1000)}, RejectReason.INSUFFICIENT_FUNDS),
        ({"side": Side.SELL, "price": Decimal(43_000)}, RejectReason.INSUFFICIENT_FUNDS),
        ({"price": Decimal(5_000_000)}, RejectReason.FILTER),
        ({"price": Decimal(10_000), "qty": Decimal("0.0001")}, RejectReason.FILTER),
    ],
)
async def test_a_clear_no(stand: Stand, changes: dict[str, Any], reason: RejectReason) -> None:
    """Each refusal of an order has its reason."""
    placement = await stand.place(**changes)
    assert isinstance(placement, Rejected)
    assert placement.reason is reason
    assert (await stand.server.record()).orders == ()


async def test_a_post_only_order_that_would_take(stand: Stand) -> None:
    """It is accepted and cancelled at once, and nothing of it fills."""
    placement = await stand.place(price=Decimal(42_500), post_only=True)
    assert isinstance(placement, Accepted)
    found = await stand.client.order(BTC, placement.order.client_id, placement.order.exchange_id)
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.CANCELLED, Decimal(0))
    assert await stand.client.open_orders(BTC) == []
    resting = await stand.place("gf1a2-b3c4d-1-b-1", post_only=True)
    assert isinstance(resting, Accepted)
    assert len(await stand.client.open_orders(BTC)) == 1


async def test_a_duplicate_id_says_that_the_order_exists(stand: Stand) -> None:
    """So it is looked up, and found."""
    first, second = await stand.place(), await stand.place()
    assert isinstance(first, Accepted)
    assert isinstance(second, Unknown)
    found = await stand.client.order(BTC, second.client_id)
    assert found is not None
    assert found.exchange_id == first.order.exchange_id


UNCLEAR = [
    ("okx", "50004", "API endpoint request timeout."),
    ("okx", "51149", "Order timed out. Please try again."),
    ("okx", "51054", "Request timed out. Please try again."),
    ("okx", "50026", "System error. Try again later."),
    ("okx", "50011", "Rate limit reached."),
    ("okx", "50013", "Systems are busy."),
    ("okx", "51999", "A code that nobody knows."),
    ("bybit", "10000", "Server Timeout"),
    ("bybit", "10016", "Server error."),
    ("bybit", "10006", "Too many visits."),
    ("bybit", "170005", "Too many new orders; current limit is 20 orders per second."),
    ("bybit", "170007", "Timeout waiting for response from backend server."),
    ("bybit", "170035", "Submitted to the system for processing!"),
    ("bybit", "170146", "Order creation timeout"),
    ("bybit", "170149", "Create order failed"),
    ("bybit", "199999", "A code that nobody knows."),
]


@pytest.mark.parametrize(("name", "code", "message"), UNCLEAR)
@pytest.mark.parametrize("done", [True, False])
async def test_an_unclear_answer_is_never_a_no(stand: Stand, code: str, message: str, done: bool) -> None:
    """Whether or not the order exists, only a look at it tells."""
    stand.lie(code, message, done=done)
    placement = await stand.place()
    assert isinstance(placement, Unknown)
    found = await stand.client.order(BTC, placement.client_id)
    assert (found is not None) is done


@pytest.mark.parametrize(
    ("name", "code", "message", "reason"),
    [
        ("bybit", "170218", "The LIMIT-MAKER order is rejected due to invalid price.", RejectReason.WOULD_TAKE),
        ("bybit", "170810", "Cannot exceed maximum of 500 active orders.", RejectReason.FILTER),
        ("okx", "51119", "Order placement failed due to insufficient balance.", RejectReason.INSUFFICIENT_FUNDS),
        ("okx", "50027", "This account is restricted from trading.", RejectReason.OTHER),
    ],
)
async def test_other_clear_refusals(stand: Stand, code: str, message: str, reason: RejectReason) -> None:
    """Codes the servers do not come to by themselves."""
    stand.lie(code, message, done=False)
    placement = await stand.place()
    assert isinstance(placement, Rejected)
    assert placement.reason is reason


@pytest.mark.parametrize("field", ["secret", "api_key"])
async def test_no_key_in_an_error(stand: Stand, field: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nor in what is logged, whatever fails."""
    setattr(stand.ccxt, {"secret": "secret", "api_key": "apiKey"}[field], "another-key-of-mine")
    said = [str(await stand.place())]
    for path in ("account", "order", "trade", "execution"):
        await stand.server.inject(Fault(kind=FaultKind.DROP_BEFORE, path=path))
    for call in (stand.client.balances(), stand.client.open_orders(BTC), stand.client.trades(BTC, 0)):
        with pytest.raises(ExchangeUnavailable) as caught:
            await call
        said.append(str(caught.value))
    for secret in (API_KEY, SECRET, PASSPHRASE, "another-key-of-mine"):
        assert not [text for text in (*said, caplog.text) if secret in text]


# ---- orders and trades


async def test_an_order_is_found_wherever_it_is(stand: Stand) -> None:
    """Open, filled, cancelled, in part or whole; by either id; and None only where there is none."""
    assert await stand.client.order(BTC, "gf1a2-b3c4d-9-s-1") is None
    assert await stand.client.order(BTC, "", "99") is None
    ids = [f"gf1a2-b3c4d-{cell}-b-1" for cell in range(4)]
    placed = [await stand.place(one) for one in ids]
    await stand.server.fill(sent_as(stand, ids[1]))
    await stand.server.fill(sent_as(stand, ids[2]), Decimal("0.0004"))
    exchange_ids = [one.order.exchange_id for one in placed if isinstance(one, Accepted)]
    for _ in range(2):  # the second time all are gone already, which is fine
        await stand.client.cancel(BTC, exchange_ids[1:])
    wanted = [
        (OrderStatus.OPEN, Decimal(0)),
        (OrderStatus.FILLED, Decimal("0.001")),
        (OrderStatus.CANCELLED, Decimal("0.0004")),
        (OrderStatus.CANCELLED, Decimal(0)),
    ]
    for restarted in (False, True):
        if isinstance(stand.venue, Bybit):
            stand.venue.restarted = restarted
        for client_id, exchange_id, (status, filled) in zip(ids, exchange_ids, wanted, strict=True):
            for found in (
                await stand.client.order(BTC, client_id),
                await stand.client.order(BTC, client_id, exchange_id),
            ):
                assert found is not None
                assert (found.client_id, found.status, found.filled) == (client_id, status, filled)
    known = {order.client_id: (order.status, order.filled) for order in await stand.client.orders(BTC)}
    assert known == dict(zip(ids, wanted, strict=True))


def sent_as(stand: Stand, client_id: str) -> str:
    """The client id as the exchange has it."""
    return client_id.replace("-", "Z") if stand.name == "okx" else client_id


async def test_half_an_answer_is_not_an_empty_list(stand: Stand) -> None:
    """Nor is it "no such order": either would release money that is bound."""
    await stand.place()
    for call in (
        lambda: stand.client.open_orders(BTC),
        lambda: stand.client.order(BTC, "gf1a2-b3c4d-12-b-7"),
        lambda: stand.client.trades(BTC, 0),
        lambda: stand.client.orders(BTC),
        lambda: stand.client.balances(),
    ):
        await stand.server.inject(Fault(kind=FaultKind.TRUNCATED, method="GET"))
        with pytest.raises(ExchangeUnavailable):
            await call()
        assert stand.venue.faults.waiting == []


async def test_open_orders_over_several_pages(stand: Stand) -> None:
    """Of one symbol and of all, each once: a page that is left out would be taken for orders that are gone."""
    ids = [f"gf1a2-b3c4d-{cell}-b-1" for cell in range(230)]
    for client_id in ids:
        assert isinstance(await stand.place(client_id), Accepted)
    for found in (await stand.client.open_orders(BTC), await stand.client.all_open_orders()):
        assert [order.client_id for order in found] == ids
    await stand.client.cancel(BTC, [order.exchange_id for order in found][::2])
    for client_id in ids[1::4]:
        await stand.server.fill(sent_as(stand, client_id))
    known = await stand.client.orders(BTC)
    assert [order.client_id for order in known] == ids
    statuses = [order.status for order in known[:4]]
    assert statuses == [OrderStatus.CANCELLED, OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.OPEN]


async def test_trades_over_several_pages(stand: Stand) -> None:
    """From the first one and from a time on, though all are of one millisecond, each once and in few requests."""
    moment = now_ms()
    await stand.server.configure(fill_parts=250)
    stand.venue.engine.clock = lambda: moment
    await stand.place(qty=Decimal("0.0025"))
    await stand.server.fill(sent_as(stand, "gf1a2-b3c4d-12-b-7"))
    traded = (await stand.server.record()).trades
    for since_ms, most in ((0, 20), (moment - 1000, 5), (moment, 5)):
        before = len((await stand.server.record()).requests)
        found = await stand.client.trades(BTC, since_ms)
        assert [trade.trade_id for trade in found] == [str(trade.trade_id) for trade in traded]
        assert sum((trade.qty for trade in found), Decimal(0)) == Decimal("0.0025")
        assert {trade.client_id for trade in found} == {"gf1a2-b3c4d-12-b-7"}
        assert {(trade.fee_currency, trade.maker) for trade in found} == {("BTC", True)}
        assert all(trade.fee > 0 for trade in found)
        assert len((await stand.server.record()).requests) - before <= most


async def test_trades_of_many_weeks(stand: Stand) -> None:
    """Days, weeks and months ago: from each moment on, nothing is missing."""
    await stand.server.configure(fill_parts=60)
    moments = [now_ms() - days * DAY_MS for days in (80, 30, 21, 14, 7, 6, 2, 0)]
    for number, moment in enumerate(moments):
        stand.venue.engine.clock = partial(int, moment)
        await stand.place(f"gf1a2-b3c4d-{number}-b-1")
        await stand.server.fill(sent_as(stand, f"gf1a2-b3c4d-{number}-b-1"))
    traded = (await stand.server.record()).trades
    for since_ms in (0, *moments):
        found = await stand.client.trades(BTC, since_ms)
        wanted = [str(trade.trade_id) for trade in traded if trade.at_ms >= since_ms]
        assert [trade.trade_id for trade in found] == wanted
    assert len(await stand.client.orders(BTC)) == len(moments)


async def test_a_symbol_without_a_past_costs_few_requests(stand: Stand) -> None:
    """Every new symbol asks for its past once; and a lot of half a year ago is found by the order that sells it."""
    before = len((await stand.server.record()).requests)
    assert await stand.client.orders(BTC) == []
    assert len((await stand.server.record()).requests) - before <= 15
    moment = now_ms() - 180 * DAY_MS
    stand.venue.engine.clock = partial(int, moment)
    await stand.place()
    await stand.server.fill(sent_as(stand, "gf1a2-b3c4d-12-b-7"))
    await stand.place("gf1a2-b3c4d-12-s-7", side=Side.SELL, price=Decimal(43_000), qty=Decimal("0.0009"))
    assert len(await stand.client.trades(BTC, 0)) == 1
    if stand.name == "bybit":  # OKX keeps orders for three months
        assert len(await stand.client.orders(BTC)) == 2


async def test_fees_in_a_third_coin(tmp_path: Path) -> None:
    """Bybit names the fee's currency; it is not guessed from the side."""
    fees = config(fee_currency="BNB", balances=RICH | {"BNB": Decimal(10)})
    symbols = {BTC: SymbolRules(symbol=BTC), "BNB/USDT": SymbolRules(symbol="BNB/USDT")}
    candles = {BTC: walk(5), "BNB/USDT": walk(5, start="300")}
    async with virtual_venue("bybit", tmp_path, candles, fees.changed(symbols=symbols)) as at:
        stand = stand_at(at)
        await stand.place()
        await at.server.fill("gf1a2-b3c4d-12-b-7")
        (trade,) = await stand.client.trades(BTC, now_ms() - 1000)
        assert (trade.fee_currency, trade.fee > 0) == ("BNB", True)
        await stand.client.close()


async def test_candles_and_tickers(stand: Stand) -> None:
    """Public data of the same client."""
    await stand.server.advance(5)
    candles = await stand.client.candles(BTC, None, 3)
    assert [candle.at_ms for candle in candles] == [candle.at_ms for candle in walk(5)[2:]]
    ticker = await stand.client.ticker(BTC)
    assert ticker.last == walk(5)[-1].close
    assert abs(ticker.at_ms - now_ms()) < 1000
    assert (await stand.client.tickers([BTC]))[BTC].last == ticker.last


async def test_public_data_needs_no_keys(stand: Stand) -> None:
    """Who trades on paper reads markets and prices with the same client."""
    exchange = ccxt_exchange(ExchangeSettings(id=stand.name, api_url=stand.server.url))
    client = CcxtClient(join_socket(exchange, stand.at.socket))
    market = (await client.markets([BTC]))[BTC]
    assert (market.tick_size, market.lot_step) == (Decimal("0.01"), Decimal("0.00001"))
    assert market.min_notional == (5 if stand.name == "bybit" else 0)  # OKX has a least amount only
    assert (await client.ticker(BTC)).last == 42_000
    await client.close()
