"""The pot of a backtest, held against the fund scripts on a real server: same answers, same state."""

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.backtest.pot import Pot, Wanted
from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient
from tasks.funds import store
from tasks.funds.models import FillMove, LimitsChange, Reservation

KEYS = Keys("main")
SYMBOLS = ("AAA/USDT", "BBB/USDT")

symbols = st.sampled_from(SYMBOLS)
few = st.integers(0, 5)  # ids and slots: few, so that they meet again
units = st.sampled_from((0, 40, 100, 250, 700))
orders = st.tuples(st.just("reserve"), symbols, st.lists(st.tuples(few, few, few, units), min_size=1, max_size=4))
fills = st.tuples(
    st.just("record"),
    symbols,
    st.lists(
        st.tuples(st.integers(0, 40), few, units, st.integers(-200, 300)), max_size=3, unique_by=lambda one: one[0]
    ),
    st.lists(few, max_size=2),
)
releases = st.tuples(st.just("release"), symbols, st.lists(few, max_size=3))
limits = st.tuples(
    st.just("limits"),
    st.sampled_from((500, 1000, 1500)),
    st.tuples(st.integers(0, 900), st.integers(0, 900)),
    st.sampled_from(("one", "two")),
    st.sampled_from((0, 0, 7)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(orders, orders, fills, fills, releases, limits), min_size=5, max_size=25))
async def test_answers_as_the_scripts_do(redis: RedisClient, steps: list[Any]) -> None:
    """Codes of each step, and the whole pot after it."""
    await redis.flushdb()
    pot = Pot()
    for step in [("limits", 1000, (600, 500), "one", 0), ("limits", 1000, (600, 400), "one", 0), *steps]:
        if step[0] == "limits":
            assert await set_limits(redis, pot, *step[1:])
        elif pot.shares and pot.version:
            assert await apply(redis, pot, *step)
        if pot.version:
            status = await store.status(redis, keys=KEYS, symbols=SYMBOLS)
            assert pot.status() == status
            assert {name: pot.shares[name].reservations for name in SYMBOLS} == {
                name: {field: int(left) for field, left in (await redis.hgetall(KEYS.reservations(name))).items()}
                for name in SYMBOLS
            }


async def set_limits(
    redis: RedisClient, pot: Pot, pool: int, allocations: tuple[int, int], inputs: str, step_ms: int
) -> bool:
    """Whether script and model answer alike."""
    changes = [
        LimitsChange(symbol=name, allocated_units=one, cap_units=900, max_usage=Decimal("0.5"))
        for name, one in zip(SYMBOLS, allocations, strict=True)
    ]
    code, version = await store.set_limits(
        redis,
        keys=KEYS,
        expected_version=pot.version,
        pool_units=pool,
        limits=changes,
        unregister=(),
        report="{}",
        inputs=inputs,
        step_ms=step_ms,
    )
    return (pot.set_limits(pool, changes, inputs, step_ms), pot.version) == (code, version)


async def apply(redis: RedisClient, pot: Pot, kind: str, symbol: str, *facts: Any) -> bool:
    """Whether script and model answer alike."""
    if kind == "reserve":
        wanted = [Wanted(f"o{one}", f"s{slot}", cycle, cost) for one, slot, cycle, cost in facts[0]]
        items = [
            Reservation(
                id=one.id, slot=one.slot, sequence=one.sequence, units=one.units, intent="{}", cell_key="c", cell="{}"
            )
            for one in wanted
        ]
        answers = await store.reserve(redis, keys=KEYS, symbol=symbol, fence=0, now_ms=1, items=items)
        return pot.reserve(symbol, wanted) == [one.code for one in answers]
    if kind == "release":
        ids = [f"o{one}" for one in facts[0]]
        await store.release(redis, keys=KEYS, symbol=symbol, fence=0, ids=ids)
        pot.release(symbol, ids)
        return True
    moves = [
        FillMove(trade_id=f"{symbol}{trade}", at_ms=1, reservation_id=f"o{one}", take_units=take, used_delta=delta)
        for trade, one, take, delta in facts[0]
    ]
    ended = [f"o{one}" for one in facts[1]]
    code = await store.record(redis, keys=KEYS, symbol=symbol, fence=0, fills=moves, ended=ended, writes=())
    return pot.record(symbol, moves, ended) == code
