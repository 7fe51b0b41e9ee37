"""The pot under real competition: many processes, one server, never a unit too much and never one lost.

Each test runs on Valkey 9 and on Redis 7.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis as sync_redis

from tasks.base.redis_client import RedisClient, connect
from tasks.funds import store
from tasks.funds.models import FundCode
from tests.support.funds_racer import (
    ALL_SYMBOLS,
    ANSWERS,
    KEYS,
    MORTAL,
    POOL,
    RACERS,
    STOP,
    TOKENS,
    TRADERS,
    UNIT,
    order_of,
    race_symbol,
    starting_line,
)
from tests.support.pot import allow

ROUNDS = 14  # each budget from 1 to 7 twice
MOST_TURNS = 112
REFUSALS = {"symbol": FundCode.SYMBOL_LIMIT, "pool": FundCode.GLOBAL_LIMIT, "order": FundCode.ALREADY}
STEPS = 1_000
DEATHS = 6
SPARE_TOKENS = 5  # 4 operations each, and ten under way: fewer than 100 scripts between two readings
MOST_BETWEEN_READINGS = 100


def start(url: str, role: str, *rest: object) -> subprocess.Popen[str]:
    """A process of the racer module."""
    command = [sys.executable, "-m", "tests.support.funds_racer", role, url, *map(str, rest)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> Any:
    """The JSON the process printed; it must have ended well."""
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(text) if text else None


# --- money for k: k winners --------------------------------------------------------------------------------
@dataclass
class Race:
    """The referee: sets the budget, fires, collects the answers of all racers."""

    client: RedisClient
    kind: str

    @property
    def symbols(self) -> list[str]:
        return sorted({race_symbol(self.kind, number) for number in range(RACERS)})

    async def run(self, turn: int, budget: int) -> list[FundCode]:
        """One round with money for `budget` grants and nearly one more; the codes by racer."""
        await self._wait_for_all()
        await self._clear(turn, budget * UNIT + UNIT - 1)
        async with self.client.pipeline(transaction=True) as pipe:
            for number in range(RACERS):
                pipe.rpush(starting_line(number), f"{self.kind}|{turn}")
            await pipe.execute()
        codes = dict([await self._answer(turn) for _ in range(RACERS)])
        return [codes[number] for number in range(RACERS)]

    async def _wait_for_all(self) -> None:
        """All racers wait on their line: the shot wakes them in one step of the server."""
        deadline = time.monotonic() + 120
        while (await self.client.info("clients"))["blocked_clients"] < RACERS:
            assert time.monotonic() < deadline, "a racer did not come to the line"
            await asyncio.sleep(0.001)

    async def _clear(self, turn: int, limit: int) -> None:
        """Take back the round before, and set the limit that this kind of race is about."""
        for number in range(RACERS):
            symbol = race_symbol(self.kind, number)
            await self.client.set(KEYS.fence(symbol), 1)
            old = [order_of(self.kind, number, turn - 1).id]
            await store.release(self.client, keys=KEYS, symbol=symbol, fence=1, ids=old)
        if self.kind == "unguarded":
            await self.client.hset(KEYS.funds, "reserved", 0)
        status = await store.status(self.client, keys=KEYS, symbols=self.symbols)
        assert status.reserved_units == 0
        pool = POOL if self.kind == "symbol" else limit
        await allow(self.client, KEYS, pool, dict.fromkeys(self.symbols, limit))

    async def _answer(self, turn: int) -> tuple[int, FundCode]:
        answer: Any = await self.client.blpop([ANSWERS], timeout=60)
        assert answer is not None, "a racer did not answer"
        of_turn, number, code = map(int, answer[1].split("|"))
        assert of_turn == turn
        return number, FundCode(code)

    async def granted(self) -> tuple[int, int, int]:
        """Reserved units by the pot, by the symbols' shares and by their open reservations."""
        status = await store.status(self.client, keys=KEYS, symbols=self.symbols)
        held = [units for name in self.symbols for units in await self.client.hvals(KEYS.reservations(name))]
        shares = sum(share.reserved_units for share in status.symbols.values())
        return status.reserved_units, shares, sum(map(int, held))


@contextmanager
def racers(url: str) -> Iterator[None]:
    """Eight processes, started once, sent home at the end."""
    processes = [start(url, "race", number) for number in range(RACERS)]
    try:
        yield
        with sync_redis.Redis.from_url(url) as client:
            for number in range(RACERS):
                client.rpush(starting_line(number), "stop")
        for process in processes:
            result_of(process)
    finally:
        end_all(processes)


def end_all(processes: list[subprocess.Popen[str]]) -> None:
    """Kill what still runs and close the pipes."""
    for process in processes:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


async def test_money_for_k_has_k_winners(either_redis_url: str) -> None:
    """Eight processes ask at once, 14 times for each: k get it, whether symbol, pool or order is scarce."""
    client = connect(either_redis_url)
    try:
        with racers(either_redis_url):
            for kind, refusal in REFUSALS.items():
                await client.flushall()
                for turn in range(1, ROUNDS + 1):
                    await one_round(Race(client, kind), turn, refusal)
    finally:
        await client.aclose()


async def one_round(race: Race, turn: int, refusal: FundCode) -> None:
    """Money for 1 to 7 grants in turn; of one order asked for eight times, one is granted."""
    budget = turn % (RACERS - 1) + 1
    winners = 1 if race.kind == "order" else budget
    codes = await race.run(turn, budget)
    assert Counter(codes) == {FundCode.OK: winners, refusal: RACERS - winners}, race.kind
    assert await race.granted() == (winners * UNIT,) * 3


async def test_the_race_is_a_race(either_redis_url: str) -> None:
    """The same race catches what looks first and takes then: sooner or later it grants too much."""
    client = connect(either_redis_url)
    race = Race(client, "unguarded")
    try:
        with racers(either_redis_url):
            for turn in range(1, MOST_TURNS):
                codes = await race.run(turn, 3)
                if codes.count(FundCode.OK) > 3:
                    return
    finally:
        await client.aclose()
    pytest.fail("eight processes never met: this race proves nothing")


# --- everything at once ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Books:
    """One symbol in one reading: its share of the pot, and what explains it."""

    used: int
    reserved: int
    reservations: Mapping[str, int]
    intents: Mapping[str, int]
    cells: Mapping[str, int]

    def check(self) -> None:
        """Money is what the journal and the inventory say, and nothing is negative."""
        assert self.reservations == self.intents
        assert self.reserved == sum(self.intents.values())
        assert self.used == sum(self.cells.values())
        assert min([*self.intents.values(), *self.cells.values(), 0]) == 0


@dataclass(frozen=True)
class Reading:
    """The whole pot at one moment."""

    pot: Mapping[str, str]
    books: Mapping[str, Books]
    calls: int  # scripts run by the server so far

    @property
    def committed(self) -> int:
        return int(self.pot.get("used", 0)) + int(self.pot.get("reserved", 0))

    def check(self) -> None:
        """Never above the pool; the symbols' sums are the totals."""
        for books in self.books.values():
            books.check()
        assert int(self.pot["pool"]) == POOL
        assert int(self.pot.get("used", 0)) == sum(books.used for books in self.books.values())
        assert int(self.pot.get("reserved", 0)) == sum(books.reserved for books in self.books.values())
        assert 0 <= self.committed <= int(self.pot.get("max_committed", 0)) <= POOL


def integers(record: Mapping[str, str]) -> dict[str, int]:
    """A hash of numbers."""
    return {name: int(value) for name, value in record.items()}


def read_pot(client: Any) -> Reading:
    """Everything in one MULTI of plain reads: none of Gridflow's own code."""
    pipe = client.pipeline(transaction=True)
    pipe.hgetall(KEYS.funds)
    for symbol in ALL_SYMBOLS:
        for key in (KEYS.funds_symbol, KEYS.reservations, KEYS.intents, KEYS.cells):
            pipe.hgetall(key(symbol))
    pipe.info("commandstats")
    pot, *records, facts = pipe.execute()
    books = {}
    for position, symbol in enumerate(ALL_SYMBOLS):
        share, *others = map(integers, records[4 * position : 4 * position + 4])
        books[symbol] = Books(share.get("used", 0), share.get("reserved", 0), *others)
    return Reading(pot, books, facts.get("cmdstat_evalsha", {}).get("calls", 0))


@dataclass
class Storm:
    """Eight trading processes, one that rebalances, one that is killed and replaced; and the reader, this process."""

    url: str
    client: Any
    seed: int
    traders: list[subprocess.Popen[str]] = field(default_factory=list)
    others: list[subprocess.Popen[str]] = field(default_factory=list)
    deaths: int = 0
    mortal_works: bool = False
    waits_for_mortal: bool = False
    fence: int = 0  # the newest lease of those that died
    readings: int = 0
    most_between: int = 0
    fullest: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)

    def run(self) -> Reading:
        """Read and hand out tokens until all traders are done; the last reading."""
        self.traders = [
            start(self.url, "trade", symbol, self.seed + number, STEPS) for number, symbol in enumerate(TRADERS)
        ]
        rebalancer = start(self.url, "rebalance", self.seed)
        self.others = [rebalancer, self._mortal()]
        before = read_pot(self.client).calls
        begun = before
        while any(trader.poll() is None for trader in self.traders):
            reading = self._read(before)
            before = reading.calls
            self._kill_when_due(before - begun)
            assert rebalancer.poll() is None
        self._kill()
        self.client.set(STOP, 1)
        self.client.rpush(TOKENS, "last")
        self.outcomes = result_of(rebalancer)
        return self._read(read_pot(self.client).calls)

    def _read(self, before: int) -> Reading:
        reading = read_pot(self.client)
        reading.check()
        self.readings += 1
        self.most_between = max(self.most_between, reading.calls - before)
        self.fullest = max(self.fullest, reading.committed)
        missing = SPARE_TOKENS - self.client.llen(TOKENS)
        if missing > 0 and not self.waits_for_mortal:
            self.client.rpush(TOKENS, *["token"] * missing)
        return reading

    def _mortal(self) -> subprocess.Popen[str]:
        return start(self.url, "trade", MORTAL, self.seed + 100 + self.deaths, 10**9)

    def _kill_when_due(self, calls: int) -> None:
        """Deaths spread over the storm, each while the process works on the symbol that it has taken over.

        Where it has not started in time, the others get no tokens until it has.
        """
        due = self.deaths < DEATHS and calls > (self.deaths + 1) * RACERS * STEPS // (DEATHS + 1)
        taken_over = int(self.client.get(KEYS.fence(MORTAL)) or 0) > self.fence
        self.waits_for_mortal = due and not taken_over
        if due and self.mortal_works:
            self._kill()
            self.others.append(self._mortal())
            taken_over = False
        self.mortal_works = taken_over

    def _kill(self) -> None:
        mortal = self.others[-1]
        assert mortal.poll() is None, "it ended before it was killed"
        mortal.kill()
        mortal.wait(10)
        self.deaths += 1
        self.fence = int(self.client.get(KEYS.fence(MORTAL)) or 0)


def test_nothing_is_lost_in_a_storm(either_redis_url: str) -> None:
    """8,000 operations of eight processes, a rebalancer, a process killed seven times; read all the time.

    In every reading the pot keeps its limit and equals journal plus inventory, symbol by symbol; at the end it also
    equals what the processes themselves report.
    """
    with sync_redis.Redis.from_url(either_redis_url, decode_responses=True) as client:
        storm = Storm(either_redis_url, client, seed=7)
        try:
            asyncio.run(open_pot(either_redis_url))
            last = storm.run()
            reports = [result_of(trader) for trader in storm.traders]
        finally:
            end_all([*storm.traders, *storm.others])
    codes: Counter[str] = Counter()
    for report in reports:
        books = last.books[report["symbol"]]
        assert books.intents == report["open"]
        assert {slot: cost for slot, cost in books.cells.items() if cost} == report["lots"]
        codes.update(report["codes"])
    explained = sum(books.reserved + books.used for books in last.books.values())
    assert last.committed == explained
    check_that_it_stormed(storm, last, codes)


async def open_pot(url: str) -> None:
    """Registered symbols with an equal share, before anybody trades."""
    client = connect(url)
    await allow(client, KEYS, POOL, dict.fromkeys(ALL_SYMBOLS, POOL // len(ALL_SYMBOLS)))
    await client.aclose()


def check_that_it_stormed(storm: Storm, last: Reading, codes: Counter[str]) -> None:
    """Every kind of answer was given, every death hit a process at work, and the reader missed no more than 100."""
    print(f"\n{storm.readings} readings, at most {storm.most_between} scripts between two; fullest {storm.fullest}")
    print(dict(codes), storm.outcomes)
    assert set(codes) == {code.name for code in FundCode} - {"UNKNOWN_SYMBOL", "RESTARTED"}
    assert storm.outcomes["applied"] > 0
    assert storm.outcomes["everything to all"] > 0
    assert storm.deaths == DEATHS + 1
    assert storm.fence >= storm.deaths
    assert last.books[MORTAL].cells
    assert storm.fullest > POOL * 0.9
    assert storm.most_between <= MOST_BETWEEN_READINGS
