"""The shared rate budget on a real Redis: counted over processes, and behind the real ccxt client."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tasks.base.errors import ExchangeUnavailable, RejectReason
from tasks.base.keys import AddressKeys, Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.exchange.client import CcxtClient
from tasks.exchange.limits.budget import Budget, BudgetExhausted
from tasks.exchange.limits.ccxt_hooks import attach_budget
from tasks.exchange.limits.priority import Priority, call_scope, request_batch
from tasks.exchange.limits.scripts import ScriptCall, run_scripts
from tasks.exchange.limits.token_bucket import BudgetCode
from tasks.exchange.models import Accepted, Grant, OrderRequest, Rejected, Side
from tasks.exchange.venues.registry import venue_of
from tasks.exchange.venues.venue import RateLimits
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.desk import real_ccxt
from tests.support.binance.faults import Fault, FaultKind
from tests.support.binance.server import LocalExchange, local_exchange
from tests.support.budget_racer import GRANTS, LIMITS, budget
from tests.support.desk import BTC, walk
from tests.support.round_trips import counted_round_trips
from tests.support.servers import free_port
from tests.support.venues.desk import venue_ccxt

ROOT = Path(__file__).parents[2]
CAPACITY = 400  # ms, a fifth of LIMITS' window


@pytest.fixture
async def second(redis_url: str) -> AsyncIterator[RedisClient]:
    """A client of its own for the process next door."""
    client = connect(redis_url)
    yield client
    await client.aclose()


async def take(shared: Budget, kind: Priority, cost_ms: float, wait_seconds: float = 0.01) -> bool:
    """Whether one call is granted within `wait_seconds`."""
    try:
        with call_scope(kind, wait_seconds):
            await shared.take(cost_ms)
    except BudgetExhausted:
        return False
    return True


async def drain(shared: Budget, kind: Priority) -> int:
    """Take 20 ms at a time until it is refused; ms taken."""
    taken = 0
    while await take(shared, kind, 20, wait_seconds=0.001):
        taken += 20
    return taken


@pytest.mark.parametrize("most", [1, 30])
async def test_many_processes_never_exceed_the_allowance_in_any_window(
    redis: RedisClient, redis_url: str, most: int
) -> None:
    """4 processes × 8 tasks, with single requests or with batches, some of which are given up.

    Never more than the window allows in any window, and little of it left unused.
    """
    seconds, cost = 5.0, 20
    command = [sys.executable, "-m", "tests.support.budget_racer", redis_url, str(seconds), "8", str(cost), str(most)]
    racers = [await asyncio.create_subprocess_exec(*command, cwd=ROOT) for _ in range(4)]
    assert [await racer.wait() for racer in racers] == [0] * 4
    moments = sorted(int(moment) for moment in await redis.lrange(GRANTS, 0, -1))
    busiest = max(sum(0 <= later - first < LIMITS.address_window_ms for later in moments) for first in moments)
    assert busiest * cost <= LIMITS.address_window_ms + cost, "a grant may be noted a moment late"
    spent = len(moments) * cost
    allowed = CAPACITY + 0.8 * (moments[-1] - moments[0]) + cost
    assert 0.8 * allowed <= spent <= allowed
    print(f"{len(moments)} grants, busiest window {busiest * cost} ms, {spent / allowed:.1%}")


async def test_classes_leave_their_reserve(redis: RedisClient) -> None:
    """Reads leave 30 %, buys 10 %, sells and cancels nothing."""
    shared, started = budget(redis), time.monotonic()

    def flown_in() -> float:
        return 0.8 * (time.monotonic() - started) * 1000 + 1

    reads = await drain(shared, Priority.READ)
    assert 0.7 * CAPACITY - 20 <= reads <= 0.7 * CAPACITY + flown_in()
    both = reads + await drain(shared, Priority.BUY)
    assert 0.9 * CAPACITY - 20 <= both <= 0.9 * CAPACITY + flown_in()
    assert await take(shared, Priority.SELL, 20)
    assert await take(shared, Priority.CANCEL, 10)


async def test_cancels_go_before_waiting_reads_and_buys(redis: RedisClient, second: RedisClient) -> None:
    """With the bucket empty and others waiting longer, cancels are first, then buys, then reads."""
    roomy = RateLimits(address_window_ms=10_000, account_window_ms=10_000)
    shared, other = budget(redis, limits=roomy), budget(second, "other", roomy)
    await take(shared, Priority.CANCEL, 2000)
    order: list[str] = []

    async def one(kind: Priority, by: Budget) -> None:
        with call_scope(kind, 10):
            await by.take(50)
        order.append(kind.label)

    waiting = [one(Priority.READ, by) for by in (shared, other) for _ in range(5)]
    waiting += [one(Priority.BUY, by) for by in (shared, other) for _ in range(5)]
    running = [asyncio.create_task(call) for call in waiting]
    await asyncio.sleep(0.005)
    running += [asyncio.create_task(one(Priority.CANCEL, shared)) for _ in range(3)]
    await asyncio.gather(*running)
    assert order[:3] == ["cancel"] * 3
    assert order[3:13] == ["buy"] * 10
    assert order[13:] == ["read"] * 10


async def test_a_call_dearer_than_the_bucket_is_paid_off_afterwards(redis: RedisClient) -> None:
    """It goes when the bucket is full; what follows waits for the debt."""
    shared = budget(redis)
    assert await take(shared, Priority.CANCEL, 2 * CAPACITY)
    started = time.monotonic()
    assert await take(shared, Priority.CANCEL, 40, wait_seconds=5)
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_redis_time_does_not_stop_the_bucket(redis: RedisClient, hours: int) -> None:
    """Redis's clock went back or ahead by an hour: an empty bucket fills as before, and grants no more than it may."""
    shared = budget(redis)
    assert await take(shared, Priority.CANCEL, CAPACITY)
    key = AddressKeys("test").budget
    stored = await redis.hget(key, "at")
    await redis.hset(key, mapping={"left": "0", "at": str(float(stored or 0) + hours * 3_600_000)})
    if hours > 0:
        assert not await take(shared, Priority.CANCEL, 100)
        await asyncio.sleep(0.15)  # 120 ms of the exchange's time
    assert await take(shared, Priority.CANCEL, 100)
    assert not await take(shared, Priority.CANCEL, CAPACITY)


async def test_waits_are_bounded(redis: RedisClient) -> None:
    """Who cannot be served in time is told at once, also behind others of its class."""
    shared = budget(redis)
    await take(shared, Priority.CANCEL, CAPACITY)
    started = time.monotonic()
    answers = await asyncio.gather(*(take(shared, Priority.READ, 200, wait_seconds=0.45) for _ in range(20)))
    assert sum(answers) <= 1
    assert time.monotonic() - started < 20 * 0.45 / 2, "they waited one after the other"


async def ban_ms(redis: RedisClient, key: str) -> int:
    """How long the ban lasts still; 0 for none. Its record stays for a minute longer."""
    return max(int(await redis.pttl(key)) - 60_000, 0)


async def test_a_longer_ban_is_never_shortened(redis: RedisClient, second: RedisClient) -> None:
    """And it stands for every account behind the address, in every process."""
    shared, other = budget(redis), budget(second, account="other")
    await shared.ban(60)
    await shared.ban(1)
    assert 59_000 < await ban_ms(redis, Keys("main").ban) <= 60_000
    with pytest.raises(BudgetExhausted, match="no calls") as refused:
        await other.take(1)
    assert 59_000 < refused.value.wait_ms <= 60_000
    await redis.flushall()
    assert not await take(shared, Priority.CANCEL, 1), "who heard the ban keeps to it though Redis forgot"


async def test_a_short_ban_ends_and_its_record_stays_to_be_seen(redis: RedisClient) -> None:
    """Who looks each quarter of a minute sees it; calls and ticks go by the time in the record."""
    shared, keys = budget(redis), Keys("main")
    await shared.ban(0.05)
    assert await redis.pttl(keys.ban) > 59_000
    await asyncio.sleep(0.06)
    assert await take(shared, Priority.CANCEL, 1), "the ban is over"
    assert await redis.exists(keys.ban)


async def take_batch(shared: Budget, priority: Priority, size: int, cost_ms: float, wait_seconds: float) -> int:
    """How many requests of a batch were granted in time."""

    async def one() -> bool:
        try:
            await shared.take(cost_ms)
        except BudgetExhausted:
            return False
        return True

    async with request_batch(priority, size, wait_seconds):
        return sum(await asyncio.gather(*(one() for _ in range(size))))


async def test_a_batch_takes_once(redis: RedisClient) -> None:
    """Fifty requests, one round trip; as many as the bucket has room for, when it has not for all."""
    roomy = RateLimits(address_window_ms=60_000, account_window_ms=60_000)
    shared = budget(redis, limits=roomy)
    assert await take(shared, Priority.CANCEL, 20)
    with counted_round_trips() as trips:
        assert await take_batch(shared, Priority.SELL, 50, 100, 0.001) == 50
        assert trips.count == 1
    assert await take_batch(shared, Priority.SELL, 100, 100, 0.001) in (69, 70, 71)


async def test_a_batch_above_the_capacity_is_granted_in_parts(redis: RedisClient) -> None:
    """The first part at once, then half a bucket at a time, and never more than what flows in."""
    shared, started = budget(redis), time.monotonic()
    assert await take(shared, Priority.CANCEL, 1)
    with counted_round_trips() as trips:
        assert await take_batch(shared, Priority.SELL, 40, 20, 5) == 40
    passed = time.monotonic() - started
    assert passed >= (40 * 20 - CAPACITY) / 0.8 / 1000
    assert passed < 1.5
    assert trips.count <= 4


async def test_what_is_left_of_a_refused_batch_is_refused_at_once(redis: RedisClient) -> None:
    """Without asking for each, and what one bucket granted alone is given back."""
    shared = budget(redis, limits=RateLimits(address_window_ms=60_000, account_window_ms=2_000, order_ms=100))
    await run_scripts(redis, [ScriptCall("give_back", ["none"], [0, 0, 1, 1])])
    assert await take(shared, Priority.SELL, 1)
    with counted_round_trips() as trips:
        assert await take_batch(shared, Priority.SELL, 50, 200, 0.01) == 3
    assert trips.count == 2
    left = float(await redis.hget(AddressKeys("test").budget, "left") or 0)
    assert left >= 12_000 - 4 * 200


async def test_what_is_given_back_never_makes_a_bucket_fuller(redis: RedisClient) -> None:
    """Than if it had not been taken: what has flowed in since then has replaced it already."""
    shared, key = budget(redis), AddressKeys("test").budget

    async def give_back(cost_ms: int, taken_at: int) -> float:
        await run_scripts(redis, [ScriptCall("give_back", [key], [cost_ms, taken_at, CAPACITY, 0.8])])
        return float(await redis.hget(key, "left") or 0)

    async def now_ms() -> int:
        seconds, micro = await redis.time()
        return int(seconds * 1000 + micro // 1000)

    taken_at = await now_ms()
    await take(shared, Priority.CANCEL, 300)
    left = await give_back(300, taken_at)
    assert CAPACITY - 10 - (await now_ms() - taken_at) < left <= CAPACITY
    await take(shared, Priority.CANCEL, 300)
    await asyncio.sleep(0.4)
    assert await take(shared, Priority.CANCEL, CAPACITY)
    assert await give_back(300, taken_at) < 150


async def test_without_redis_no_call(redis: RedisClient) -> None:
    """A blind call could break the limits of everybody."""
    shared = budget(connect(f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(BudgetExhausted, match="Redis"):
        await shared.take(1)


# --- behind the real ccxt client ---------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[LocalExchange]:
    """A loopback exchange."""
    async with local_exchange({BTC: walk(30)}) as exchange:
        yield exchange


class Worker:
    """A ccxt exchange with the budget, and the client over it, as a process has them."""

    def __init__(self, server: LocalExchange, redis: RedisClient) -> None:
        self.budget = Budget(redis, Keys("main"), AddressKeys("binance"), venue_of("binance").rate_limits)
        self.ccxt: Any = real_ccxt(server)
        attach_budget(self.ccxt, self.budget)
        self.client = CcxtClient(self.ccxt)

    async def __aenter__(self) -> "Worker":
        await self.client.markets([])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


def request(number: int, valid_ms: int = 5000) -> OrderRequest:
    """A small buy far below the price."""
    name = f"t-0-b-{number}"
    return OrderRequest(
        grant=Grant(client_id=name, units=0, fence=1),
        client_id=name,
        symbol=BTC,
        side=Side.BUY,
        price=Decimal(30_000),
        qty=Decimal("0.001"),
        post_only=True,
        signed_at_ms=int(time.time() * 1000),
        valid_ms=valid_ms,
    )


async def test_what_is_charged_is_no_less_than_what_the_exchange_counts(
    redis: RedisClient, server: LocalExchange
) -> None:
    """Every call the client makes costs the bucket at least its weight (10 ms each)."""
    async with Worker(server, redis) as worker:
        client, keys = worker.client, AddressKeys("binance")
        calls = (
            lambda: client.ticker(BTC),
            lambda: client.open_orders(BTC),
            lambda: client.trades(BTC, 0),
            lambda: client.balances(),
            lambda: client.order(BTC, "none"),
            lambda: client.candles(BTC, None, 10),
        )
        for call in calls:
            await redis.delete(keys.budget)
            used = server.binance.limits.used
            await call()
            charged = 12_000 - float(await redis.hget(keys.budget, "left") or 0)
            assert charged >= 10 * (server.binance.limits.used - used)


async def test_what_the_client_does_costs_one_round_trip(redis: RedisClient, server: LocalExchange) -> None:
    """A read, a batch of orders and a batch of cancels alike; responses cost none."""
    async with Worker(server, redis) as worker:
        await worker.client.ticker(BTC)
        with counted_round_trips() as trips:
            await worker.client.ticker(BTC)
            assert trips.count == 1
            placed = await worker.client.place([request(number) for number in range(15)])
            assert trips.count == 2
            ids = [one.order.exchange_id for one in placed if isinstance(one, Accepted)]
            assert len(ids) == 15
            await worker.client.cancel(BTC, ids)
            assert trips.count == 3
        assert await worker.client.open_orders(BTC) == []


async def test_fifty_orders_take_in_parts_what_the_account_allows(redis: RedisClient, server: LocalExchange) -> None:
    """A hundred orders in 10 s: a fifth at once less the reserve, then the flow, in a few round trips for all."""
    async with Worker(server, redis) as worker:
        await worker.client.ticker(BTC)
        with counted_round_trips() as trips:
            placed = await worker.client.place([request(number, valid_ms=12_000) for number in range(50)])
        assert {type(one) for one in placed} == {Accepted}
        assert trips.count <= 6
        print(f"{trips.count} round trips for 50 orders")


async def test_the_lowest_count_of_a_batch_is_reported_once(redis: RedisClient, server: LocalExchange) -> None:
    """The exchange says with each of ten answers that little is left."""
    async with Worker(server, redis) as worker:
        await worker.client.ticker(BTC)
        server.binance.limits.used = 5850
        with counted_round_trips() as trips:
            await worker.client.place([request(number) for number in range(10)])
        assert trips.count == 2
        left = float(await redis.hget(AddressKeys("binance").budget, "left") or 0)
        assert left <= (6000 - 5860) * 10


async def test_a_grant_is_not_kept_for_later(redis: RedisClient) -> None:
    """A request of a batch that comes late takes anew: together with others it could break the window's bound."""
    shared, key = budget(redis), AddressKeys("test").budget
    async with request_batch(Priority.CANCEL, 3):
        await shared.take(20)
        await asyncio.sleep(1.1)
        with counted_round_trips() as trips:
            await shared.take(20)
        assert trips.count > 0
        left = float(await redis.hget(key, "left") or 0)
        assert CAPACITY - 41 <= left <= CAPACITY - 40, "two requests are unsent, and what was granted before is gone"


@pytest.mark.parametrize(("named", "weight"), [(1, 2), (20, 2), (21, 40), (100, 40), (101, 80)])
async def test_a_look_at_some_tickers_is_charged_as_the_exchange_counts_it(
    redis: RedisClient, named: int, weight: int
) -> None:
    """Neither less nor, as ccxt would, as much as one of all symbols: that would leave little for trading."""
    names = [f"C{number:03}/USDT" for number in range(named)]
    config = Config(symbols={name: SymbolRules(symbol=name) for name in names})
    async with local_exchange({name: walk(2) for name in names}, config) as server, Worker(server, redis) as worker:
        await worker.client.markets(names)
        await redis.delete(AddressKeys("binance").budget)
        assert len(await worker.client.tickers(names)) == named
        assert (await server.record()).requests[-1].weight == weight
        charged = 12_000 - float(await redis.hget(AddressKeys("binance").budget, "left") or 0)
        assert charged == pytest.approx(10 * weight, abs=1)


async def test_three_workers_stay_below_the_limit(redis: RedisClient, server: LocalExchange) -> None:
    """As many calls as they can make: the exchange never says 429, and sees no more than a fifth plus the flow."""
    seconds = 4.0
    async with Worker(server, redis) as one, Worker(server, redis) as two, Worker(server, redis) as three:
        started = time.monotonic()

        async def hammer(worker: Worker) -> None:
            while time.monotonic() - started < seconds:
                try:
                    with call_scope(Priority.READ, 1):
                        await worker.client.trades(BTC, 0)
                except ExchangeUnavailable:
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(hammer(worker) for worker in (one, two, three) for _ in range(10)))
        passed = time.monotonic() - started
    record = await server.record()
    assert {row.outcome for row in record.requests} == {"200"}
    weight = sum(row.weight for row in record.requests)
    assert 0.8 * (840 + 80 * seconds) <= weight <= 1200 + 80 * passed
    print(f"{len(record.requests)} calls, weight {weight} in {passed:.1f} s")


async def test_orders_stay_below_the_accounts_limit(redis: RedisClient, server: LocalExchange) -> None:
    """Orders have a limit of their own, which the exchange counts in 10 seconds."""
    async with Worker(server, redis) as worker:
        started = time.monotonic()
        with call_scope(Priority.BUY):
            for number in range(50):
                await worker.ccxt.create_order(BTC, "limit", "buy", 0.001, 30_000, {"clientOrderId": f"x{number}"})
        assert time.monotonic() - started >= (50 - 20) / 8 - 0.1


async def test_a_ban_stops_everyone_without_another_call(
    redis: RedisClient, second: RedisClient, server: LocalExchange
) -> None:
    """One worker hears it; the other one's reads fail and its orders are clearly not sent, at once."""
    async with Worker(server, redis) as one, Worker(server, second) as two:
        await server.inject(Fault(kind=FaultKind.RATE_LIMIT, seconds=4))
        with pytest.raises(ExchangeUnavailable, match="429"):
            await one.client.ticker(BTC)
        before = len((await server.record()).requests)
        started = time.monotonic()
        with pytest.raises(ExchangeUnavailable, match="no calls"):
            await two.client.ticker(BTC)
        answers = await two.client.place([request(1)])
        assert isinstance(answers[0], Rejected)
        assert answers[0].reason is RejectReason.RATE_LIMITED
        assert time.monotonic() - started < 3
        assert len((await server.record()).requests) == before
        await asyncio.sleep(4.1)
        await two.client.ticker(BTC)


@pytest.mark.parametrize(("kind", "seconds"), [(FaultKind.RATE_LIMIT, 7), (FaultKind.BAN, 90)])
async def test_the_ban_lasts_as_long_as_the_exchange_says(
    redis: RedisClient, server: LocalExchange, kind: FaultKind, seconds: int
) -> None:
    """429 and 418 with Retry-After."""
    async with Worker(server, redis) as worker:
        await server.inject(Fault(kind=kind, seconds=seconds))
        with pytest.raises(ExchangeUnavailable):
            await worker.client.ticker(BTC)
        for key in (Keys("main").ban, AddressKeys("binance").ban):
            assert (seconds - 2) * 1000 < await ban_ms(redis, key) <= seconds * 1000


RESETS_IN = 3  # s
IP_LIMIT = '{"retCode": 10018, "retMsg": "IP rate limit"}'
ACCOUNT_LIMIT = '{"retCode": 10006, "retMsg": "Too many visits!"}'


@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [
        (403, "403, access too frequent", 600),
        (403, '{"message": "Forbidden"}', 600),
        (200, IP_LIMIT, 600),
        (200, IP_LIMIT.replace(" ", ""), 600),
        (200, ACCOUNT_LIMIT, RESETS_IN),
        (200, '{"retCode": 10001, "retMsg": "limit 10018"}', 0),
    ],
)
async def test_bybits_ban_of_an_address_is_not_the_accounts_limit(
    redis: RedisClient, status: int, body: str, seconds: int
) -> None:
    """Ten minutes for the address, whatever the account's counter says; for the account until that is counted anew."""

    async def answer(_: web.Request) -> web.Response:
        reset = str(int((time.time() + RESETS_IN) * 1000))
        kind = "application/json" if body.startswith("{") else "text/html"
        headers = {"X-Bapi-Limit-Reset-Timestamp": reset}
        return web.Response(status=status, text=body, content_type=kind, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        exchange = venue_ccxt("bybit", str(server.make_url("/")))
        attach_budget(exchange, Budget(redis, Keys("main"), AddressKeys("bybit"), venue_of("bybit").rate_limits))
        client = CcxtClient(exchange)
        with pytest.raises(ExchangeUnavailable):
            await client.balances()
        await client.close()
    for key in (Keys("main").ban, AddressKeys("bybit").ban):
        assert (seconds - 2) * 1000 < await ban_ms(redis, key) <= seconds * 1000


async def test_the_exchanges_own_count_corrects_the_bucket(redis: RedisClient, server: LocalExchange) -> None:
    """Somebody else on the address used it up: reads stop, what is urgent still gets through."""
    async with Worker(server, redis) as worker:
        server.binance.limits.used = 5900
        await worker.client.ticker(BTC)
        left = float(await redis.hget(AddressKeys("binance").budget, "left") or 0)
        assert left <= 1000
        assert not await take(worker.budget, Priority.READ, 10)
        assert not await take(worker.budget, Priority.BUY, 10)
        assert await take(worker.budget, Priority.CANCEL, 10)


async def test_the_client_says_how_urgent_its_calls_are(redis: RedisClient, server: LocalExchange) -> None:
    """An order counts for the account; with little left for the address buys are not sent, cancels are."""
    async with Worker(server, redis) as worker:
        placed = (await worker.client.place([request(1)]))[0]
        assert isinstance(placed, Accepted)
        left = float(await redis.hget(Keys("main").budget, "left") or 0)
        assert left == pytest.approx(2000 - 100, abs=1)
        server.binance.limits.used = 5900
        await worker.client.ticker(BTC)
        refused = (await worker.client.place([request(2, valid_ms=100)]))[0]
        assert isinstance(refused, Rejected)
        await worker.client.cancel(BTC, [placed.order.exchange_id])
        record = await server.record()
        assert [row.method for row in record.requests][-3:] == ["POST", "GET", "DELETE"]


async def test_a_refusal_after_something_was_sent_is_not_a_clear_no(redis: RedisClient, server: LocalExchange) -> None:
    """A call in two requests whose second one is refused here has an unknown outcome."""
    async with Worker(server, redis) as worker:
        with call_scope(Priority.BUY):
            await worker.ccxt.create_order(BTC, "limit", "buy", 0.001, 30_000)
            await worker.budget.ban(30)
            with pytest.raises(ccxt.RateLimitExceeded) as refused:
                await worker.ccxt.fetch_ticker(BTC)
        assert not isinstance(refused.value, BudgetExhausted)


def test_the_scripts_codes_are_the_enums() -> None:
    """Each code the header lists, by number and name."""
    listed = re.findall(
        r"(\d) ([A-Z]{2,}):", (ROOT / "tasks" / "exchange" / "limits" / "budget.lua").read_text(encoding="utf-8")
    )
    assert [BudgetCode[name] for _, name in listed] == [BudgetCode(int(number)) for number, _ in listed]
    assert len(listed) == len(BudgetCode)


def test_the_rate_limits_of_binance() -> None:
    """6000 weights a minute at 10 ms each, 100 orders in 10 s at 100 ms each."""
    assert venue_of("binance").rate_limits == RateLimits(
        address_window_ms=6000 * 10, account_window_ms=10_000, order_ms=100
    )
