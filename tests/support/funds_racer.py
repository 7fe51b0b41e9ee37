"""Processes that compete for the pot.

`python -m tests.support.funds_racer race URL NUMBER`             one attempt per starting shot
`python -m tests.support.funds_racer trade URL SYMBOL SEED STEPS` random operations, prints a report (JSON)
`python -m tests.support.funds_racer rebalance URL SEED`          shares the pool anew until told to stop
"""

import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect
from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FillMove, FundCode, Reservation, Write
from tasks.settings.model import AllocationStrategy
from tests.support.pot import allow, codes_of

KEYS = Keys("race")
RACERS = 8
UNIT = 1_000  # what one racer asks for

TRADERS = tuple(f"T{number}/USDT" for number in range(RACERS))
MORTAL = "MORTAL/USDT"  # of the process that is killed again and again
ALL_SYMBOLS = (*TRADERS, MORTAL)
POOL = 1_000_000
STEPS_PER_TOKEN = 4
TOKENS = "storm:tokens"
STOP = "storm:stop"
ANSWERS = "race:answers"
_SLOTS = 12
_LARGEST = 20_000


def race_symbol(kind: str, number: int) -> str:
    """The symbol a racer buys: its own when the pool is the limit, else the one they share."""
    return TRADERS[number] if kind in ("pool", "unguarded") else TRADERS[0]


def starting_line(number: int) -> str:
    """List on which a racer waits for its shot."""
    return f"race:go:{number}"


def order_of(kind: str, number: int, turn: int, units: int = UNIT) -> Reservation:
    """A racer's order of one turn; everybody's is the same one when `kind` is `order`."""
    slot = "0" if kind == "order" else str(number)
    name = f"{slot}-{turn}"
    return Reservation(id=name, slot=slot, sequence=turn, units=units, intent="{}", cell_key=slot, cell="{}")


async def race(client: RedisClient, number: int) -> None:
    """Wait for the shot (kind and turn), ask for money once, tell the code; until the shot is `stop`."""
    while True:
        shot: Any = await client.blpop([starting_line(number)], timeout=120)
        if shot is None or shot[1] == "stop":
            return
        kind, turn = shot[1].split("|")
        attempt = _ask_unguarded if kind == "unguarded" else _ask
        code = await attempt(client, race_symbol(kind, number), order_of(kind, number, int(turn)))
        await client.rpush(ANSWERS, f"{turn}|{number}|{code:d}")


async def _ask(client: RedisClient, symbol: str, order: Reservation) -> FundCode:
    answer = await store.reserve(client, keys=KEYS, symbol=symbol, fence=1, now_ms=1, items=[order])
    return codes_of(answer)[0]


async def _ask_unguarded(client: RedisClient, symbol: str, order: Reservation) -> FundCode:
    """Look first and take then, in two calls: what the script must never be."""
    status = await store.status(client, keys=KEYS, symbols=[symbol])
    if status.committed_units + order.units > status.pool_units:
        return FundCode.GLOBAL_LIMIT
    await client.hincrby(KEYS.funds, "reserved", order.units)
    return FundCode.OK


@dataclass
class StormTrader:
    """Random operations on one symbol, and this process's own idea of what they must have done.

    A cell is a slot; its record in Redis is the cost of what it holds. A journal entry is what its reservation still
    holds. Both are written with the money, so that a successor can go on from Redis alone.
    """

    client: RedisClient
    symbol: str
    rng: random.Random
    fence: int = 0
    paused: bool = False
    open: dict[str, int] = field(default_factory=dict)
    lots: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    trades: int = 0

    async def take_over(self) -> None:
        """Take a newer lease and read what the symbol holds."""
        self.fence = int(await self.client.incr(KEYS.fence(self.symbol)))
        self.open = await self._integers(KEYS.intents(self.symbol))
        self.lots = await self._integers(KEYS.cells(self.symbol))
        self.sequences = await self._integers(KEYS.slots(self.symbol))
        self.paused = await self.client.hget(KEYS.funds_symbol(self.symbol), "paused") == "1"

    async def _integers(self, key: str) -> dict[str, int]:
        record: Any = await self.client.hgetall(key)
        return {name: int(value) for name, value in record.items()}

    async def step(self) -> None:
        """One random operation; sometimes once more, as if its answer had been lost."""
        choices = [self.buy, self.fill, self.end, self.sell, self.give_back, self.toggle_pause, self.renew_lease]
        weights = [30, 30, 8, 20, 8, 2 if not self.paused else 20, 2]
        (operation,) = self.rng.choices(choices, weights)
        await operation()

    def _again(self) -> bool:
        return self.rng.random() < 0.15

    # --- asking for money --------------------------------------------------------------------------------
    async def buy(self) -> None:
        """Ask for a batch; some items are sells (no money), some repeat an old order."""
        slots = self.rng.sample(range(_SLOTS), self.rng.randint(1, 6))
        items = [self._order(str(slot)) for slot in slots]
        await self._reserve(items)
        if self._again():
            await self._reserve(items)

    def _order(self, slot: str) -> Reservation:
        step = 0 if self.rng.random() < 0.1 else 1
        sequence = max(self.sequences.get(slot, -1) + step, 0)
        units = 0 if self.rng.random() < 0.1 else self.rng.randint(1, _LARGEST)
        return Reservation(
            id=f"{slot}-{sequence}",
            slot=slot,
            sequence=sequence,
            units=units,
            intent=str(units),
            cell_key=slot,
            cell=str(self.lots.get(slot, 0)),
        )

    async def _reserve(self, items: list[Reservation]) -> None:
        answer = await store.reserve(
            self.client, keys=KEYS, symbol=self.symbol, fence=self.fence, now_ms=1, items=items
        )
        for item, code in zip(items, codes_of(answer), strict=True):
            known = self.sequences.get(item.slot, -1) >= item.sequence
            assert (code is FundCode.ALREADY) == known, (item, code)
            assert code is not FundCode.STALE_FENCE, (item, code)
            if self.paused and item.units:
                assert code in (FundCode.ALREADY, FundCode.PAUSED), (item, code)
            self.codes[code.name] += 1
            if code is FundCode.OK:
                self.open[item.id] = item.units
                self.sequences[item.slot] = item.sequence

    # --- fills and ends ----------------------------------------------------------------------------------
    async def fill(self) -> None:
        """Book partial or full fills of up to three buys, and end some of the orders."""
        held = [name for name, units in self.open.items() if units]
        chosen = self.rng.sample(sorted(held), min(len(held), self.rng.randint(1, 3)))
        fills, ended = [], []
        for name in chosen:
            take = self.rng.choice([self.open[name], self.rng.randint(1, self.open[name])])
            cost = take - self.rng.randint(0, min(take, 50))
            slot = name.split("-")[0]
            self.open[name] -= take
            self.lots[slot] = self.lots.get(slot, 0) + cost
            fills.append(self._move(name, take, cost))
            if self.open[name] == 0 or self.rng.random() < 0.3:
                ended.append(name)
        if fills:
            await self._record(fills, ended, [self._cell(name.split("-")[0]) for name in chosen])

    async def sell(self) -> None:
        """Sell part or all of up to three cells."""
        held = [slot for slot, cost in self.lots.items() if cost]
        chosen = self.rng.sample(sorted(held), min(len(held), self.rng.randint(1, 3)))
        fills = []
        for slot in chosen:
            freed = self.rng.choice([self.lots[slot], self.rng.randint(0, self.lots[slot])])
            self.lots[slot] -= freed
            fills.append(self._move("", 0, -freed))
        if fills:
            await self._record(fills, [], [self._cell(slot) for slot in chosen])

    async def end(self) -> None:
        """Settle orders without a fill."""
        ended = self.rng.sample(sorted(self.open), min(len(self.open), 3))
        await self._record([], ended, [])

    def _move(self, order: str, take: int, delta: int) -> FillMove:
        self.trades += 1
        trade = f"{self.fence}-{self.trades}"
        return FillMove(trade_id=trade, at_ms=self.trades, reservation_id=order, take_units=take, used_delta=delta)

    def _cell(self, slot: str) -> Write:
        return Write(key=KEYS.cells(self.symbol), verb="HSET", field=slot, value=str(self.lots[slot]))

    def _journal(self, name: str) -> Write:
        key = KEYS.intents(self.symbol)
        if name in self.open:
            return Write(key=key, verb="HSET", field=name, value=str(self.open[name]))
        return Write(key=key, verb="HDEL", field=name)

    async def _record(self, fills: list[FillMove], ended: list[str], cells: list[Write]) -> None:
        for name in ended:
            self.open.pop(name)
        touched = {fill.reservation_id for fill in fills if fill.reservation_id} | set(ended)
        writes = cells + [self._journal(name) for name in sorted(touched)]
        assert await self._send_record(fills, ended, writes) is FundCode.OK
        if self._again():
            expected = FundCode.ALREADY if fills else FundCode.OK
            assert await self._send_record(fills, ended, writes) is expected
        if fills and self._again():
            news = [*fills, self._move("", 0, 0)]
            assert await self._send_record(news, ended, []) is FundCode.CONFLICT

    async def _send_record(self, fills: list[FillMove], ended: list[str], writes: list[Write]) -> FundCode:
        code = await store.record(
            self.client, keys=KEYS, symbol=self.symbol, fence=self.fence, fills=fills, ended=ended, writes=writes
        )
        self.codes[code.name] += 1
        return code

    # --- giving back, pausing, leases --------------------------------------------------------------------
    async def give_back(self) -> None:
        """Release some orders, among them one that never was."""
        names = self.rng.sample(sorted(self.open), min(len(self.open), self.rng.randint(0, 3)))
        expected = sum(self.open.pop(name) for name in names)
        writes = [self._journal(name) for name in names]
        assert await self._release([*names, "unknown"], writes) == (FundCode.OK, expected)
        if self._again():
            assert await self._release([*names, "unknown"], writes) == (FundCode.OK, 0)

    async def _release(self, names: list[str], writes: list[Write]) -> tuple[FundCode, int]:
        return await store.release(
            self.client, keys=KEYS, symbol=self.symbol, fence=self.fence, ids=names, writes=writes
        )

    async def toggle_pause(self) -> None:
        """Pause or resume the symbol's buys."""
        self.paused = not self.paused
        hashes = [KEYS.funds_symbol(self.symbol)]
        assert await store.set_flag(self.client, hashes=hashes, flag="paused", value=self.paused) == 1

    async def renew_lease(self) -> None:
        """Take a newer lease; the old one may do nothing from then on."""
        new = int(await self.client.incr(KEYS.fence(self.symbol)))
        answer = await store.reserve(
            self.client, keys=KEYS, symbol=self.symbol, fence=self.fence, now_ms=1, items=[self._order("0")]
        )
        assert codes_of(answer) == [FundCode.STALE_FENCE]
        assert await self._release(sorted(self.open), []) == (FundCode.STALE_FENCE, 0)
        assert await self._send_record([self._move("", 0, 1)], [], []) is FundCode.STALE_FENCE
        self.fence = new

    def report(self) -> str:
        """What this process believes the symbol holds (JSON)."""
        lots = {slot: cost for slot, cost in self.lots.items() if cost}
        return json.dumps({"symbol": self.symbol, "open": self.open, "lots": lots, "codes": self.codes})


async def trade(client: RedisClient, symbol: str, seed: int, steps: int) -> None:
    """Take the symbol over and do `steps` operations, a few for each token."""
    trader = StormTrader(client=client, symbol=symbol, rng=random.Random(seed))
    await trader.take_over()
    for number in range(steps):
        if number % STEPS_PER_TOKEN == 0:
            await _token(client)
        await trader.step()
    print(trader.report())


async def _token(client: RedisClient) -> None:
    """The reader hands out tokens, so that only so much can happen between two of its readings."""
    if await client.blpop([TOKENS], timeout=60) is None:
        raise TimeoutError("no token: the reader is gone")


async def rebalance(client: RedisClient, seed: int) -> None:
    """Share the pool by ever new weights; now and then give everybody all of it, so that the pool is the limit."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    while not await client.exists(STOP):
        await _token(client)
        by_rules = rng.random() < 0.6
        outcomes[await (share_by_rules(client, rng) if by_rules else share_everything(client))] += 1
        await asyncio.sleep(0.002)
    print(json.dumps(outcomes))


async def share_by_rules(client: RedisClient, rng: random.Random) -> str:
    """One forced rebalance of an allocator with random weights and strategy."""
    allocator = GlobalFundAllocator(
        redis=client,
        keys=KEYS,
        total_funds=Decimal(POOL).scaleb(-8),
        global_max_usage=Decimal(1),
        strategy=rng.choice(list(AllocationStrategy)),
    )
    for symbol in ALL_SYMBOLS:
        allocator.register_trader(symbol, weight=Decimal(rng.randint(1, 5)), max_usage_pct=Decimal("0.5"))
    return (await allocator.rebalance_if_needed(force=True)).outcome


async def share_everything(client: RedisClient) -> str:
    """Allow every symbol the whole pool."""
    await allow(client, KEYS, POOL, dict.fromkeys(ALL_SYMBOLS, POOL))
    return "everything to all"


async def _main(role: str, url: str, *rest: str) -> None:
    client = connect(url)
    try:
        if role == "race":
            await race(client, int(rest[0]))
        elif role == "trade":
            await trade(client, rest[0], int(rest[1]), int(rest[2]))
        else:
            await rebalance(client, int(rest[0]))
    finally:
        await client.aclose()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
