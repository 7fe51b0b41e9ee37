"""What a grant costs, in one run: `uv run python -m tests.benchmarks.funds_benchmark [--json] [--server redis-7]`.

Measured is one round trip over loopback TCP to a real server with nothing else to do. What is marked `program` is the
program's own way: `tasks.funds.store.reserve`, from its arguments to its answer, against an empty script without keys
or arguments through the same asyncio client. What is marked `client` goes through redis-py's blocking client, where
`Lock` is simplest. All else is the bare wire: the bytes of a call are packed before the clock starts, then sent, and
the answer is read and parsed. The calls are the very ones that `tasks.funds.store` sends (caught on their way).
A round prepares a call of each kind,
sends them one after the other in a new order, and then releases what was reserved; only the sending is timed, so that
every kind meets an equally busy server and equally warm caches. Compared are medians.

Ends with code 1 when a bound does not hold.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import redis as sync_redis

from tasks.base.keys import Keys
from tasks.base.redis_client import RedisClient, connect, registered, script_source
from tasks.exchange.models import Side
from tasks.funds import store
from tasks.funds.models import Reservation, Write
from tasks.grid.models import Cell
from tasks.orders.models import Intent
from tests.support.servers import debian_redis, expect_server, redis_server

UNITS = 25_00000000
POOL = 80_000_000 * 10**8
BATCH = 20
WARM_UP = 100
FLAT = 0.15


@dataclass(frozen=True)
class Call:
    """One script call as the store makes it."""

    text: str
    keys: Sequence[str]
    args: Sequence[str | int]


@dataclass
class Catcher:
    """Stands in for the client: keeps the call, answers that all is well."""

    script: str
    answer: list[int]
    call: Call | None = None

    async def evalsha(self, _sha: str, count: int, *rest: str | int) -> list[int]:
        keys = [str(key) for key in rest[:count]]
        self.call = Call(script_source("tasks.funds", self.script), keys, rest[count:])
        return self.answer


@dataclass
class Book:
    """One account: so many symbols, each with so many open reservations; makes the calls that trade on it."""

    name: str
    symbols: int
    open_each: int
    turn: int = 0

    @property
    def keys(self) -> Keys:
        return Keys(self.name)

    def symbol(self, number: int) -> str:
        return f"S{number % self.symbols}/USDT"

    def item(self, symbol: str, slot: str, sequence: int) -> Reservation:
        """An order of a cell, with records as large as real ones."""
        name = f"1a2b3c4d-{slot}-b-{sequence}"
        price, qty, cell_key = Decimal("41999.99"), Decimal("0.00059"), f"1a2b3c4d-{slot}"
        intent = Intent(
            client_id=name,
            symbol=symbol,
            cell_key=cell_key,
            side=Side.BUY,
            price=price,
            qty=qty,
            cycle=sequence,
            units=UNITS,
            post_only=True,
            created_ms=1_704_067_200_000,
            units_left=UNITS,
        )
        cell = Cell(key=cell_key, grid_id="1a2b3c4d", index=1, buy_price=price, sell_price=price, cycle=sequence)
        return Reservation(
            id=name,
            slot=f"{cell_key}-b",
            sequence=sequence,
            units=UNITS,
            intent=intent.model_dump_json(),
            cell_key=cell_key,
            cell=cell.model_dump_json(),
        )

    def fill(self, client: Any) -> None:
        """Write the account as if all its orders had been granted."""
        pipe = client.pipeline(transaction=False)
        total = self.symbols * self.open_each * UNITS
        pipe.hset(self.keys.funds, mapping={"pool": POOL, "reserved": total, "max_committed": POOL})
        for number in range(self.symbols):
            symbol = self.symbol(number)
            share = {"allocated": POOL, "reserved": self.open_each * UNITS}
            pipe.hset(self.keys.funds_symbol(symbol), mapping=share)
            pipe.set(self.keys.fence(symbol), 1)
            self._fill_symbol(pipe, symbol)
        pipe.execute()

    def _fill_symbol(self, pipe: Any, symbol: str) -> None:
        for number in range(self.open_each):
            item = self.item(symbol, f"o{number}", 0)
            pipe.hset(self.keys.slots(symbol), item.slot, 0)
            pipe.hset(self.keys.reservations(symbol), item.id, UNITS)
            pipe.hset(self.keys.intents(symbol), item.id, item.intent)
            pipe.hset(self.keys.cells(symbol), item.cell_key, item.cell)
            if len(pipe.command_stack) > 10_000:
                pipe.execute()

    def next_items(self, count: int, place: str) -> tuple[str, list[Reservation]]:
        """The next batch to ask for, on the next symbol, for cells of that `place` only."""
        self.turn += 1
        symbol = self.symbol(self.turn)
        return symbol, [self.item(symbol, f"{place}{slot}", self.turn) for slot in range(count)]

    def reserve_call(self, symbol: str, items: Sequence[Reservation]) -> Call:
        catcher: Any = Catcher("reserve", [0] * len(items))
        _RUNNER.run(store.reserve(catcher, keys=self.keys, symbol=symbol, fence=1, now_ms=1, items=items))
        call: Call = catcher.call
        return call

    def release_call(self, symbol: str, items: Sequence[Reservation]) -> Call:
        """Gives everything back, journal entries too."""
        catcher: Any = Catcher("release", [0, 0])
        writes = [Write(key=self.keys.intents(symbol), verb="HDEL", field=item.id) for item in items]
        ids = [item.id for item in items]
        _RUNNER.run(store.release(catcher, keys=self.keys, symbol=symbol, fence=1, ids=ids, writes=writes))
        call: Call = catcher.call
        return call


_RUNNER = asyncio.Runner()


@dataclass(frozen=True)
class Shot:
    """A prepared call: `fire` times it, the answer must be `expected`, `after` undoes it."""

    fire: Callable[[], Any]
    expected: Any = None
    after: Callable[[], None] | None = None


@dataclass
class Bench:
    """The program's client, a blocking one and a raw connection on one server, and the samples (µs) by kind."""

    program: RedisClient
    client: Any
    raw: Any
    samples: dict[str, list[float]] = field(default_factory=dict)
    shas: dict[str, str] = field(default_factory=dict)

    def command(self, call: Call) -> list[Any]:
        """The call as arguments of EVALSHA."""
        if call.text not in self.shas:
            self.shas[call.text] = str(self.client.script_load(call.text))
        return ["EVALSHA", self.shas[call.text], len(call.keys), *call.keys, *call.args]

    def script(self, kind: str, call: Call) -> Shot:
        """A shot that sends packed bytes and waits for the answer."""
        packed = self.raw.pack_command(*self.command(call))

        def fire() -> Any:
            begun = time.perf_counter_ns()
            self.raw.send_packed_command(packed, check_health=False)
            answer = self.raw.read_response()
            self._note(kind, begun)
            return answer

        return Shot(fire)

    def _note(self, kind: str, begun: int) -> None:
        self.samples.setdefault(kind, []).append((time.perf_counter_ns() - begun) / 1000)

    def reserve(self, kind: str, book: Book, count: int) -> Shot:
        """A batch; every item must be granted."""
        symbol, items = book.next_items(count, "r" if count == 1 else "b")
        fire = self.script(kind, book.reserve_call(symbol, items)).fire
        return Shot(fire, expected=[0] * count, after=lambda: self._release(book, symbol, items))

    def _release(self, book: Book, symbol: str, items: Sequence[Reservation]) -> None:
        code, units = self.client.execute_command(*self.command(book.release_call(symbol, items)))
        assert (code, units) == (0, UNITS * len(items))

    def by_client(self, kind: str, call: Call) -> Shot:
        """The call through the ordinary client."""
        command = self.command(call)

        def fire() -> Any:
            begun = time.perf_counter_ns()
            answer = self.client.execute_command(*command)
            self._note(kind, begun)
            return answer

        return Shot(fire)

    def empty_by_program(self) -> Shot:
        """The least a script call costs the program."""
        empty = partial(registered("return 0"), client=self.program)
        return self._by_program("program: empty", lambda: empty((), ()))

    def reserve_by_program(self, book: Book) -> Shot:
        """One reservation as a tick makes it."""
        symbol, items = book.next_items(1, "a")

        def reserve() -> Coroutine[Any, Any, Any]:
            return store.reserve(self.program, keys=book.keys, symbol=symbol, fence=1, now_ms=1, items=items)

        fire = self._by_program("program: one reserve", reserve).fire
        return Shot(lambda: [one.code for one in fire()], [0], lambda: self._release(book, symbol, items))

    def _by_program(self, kind: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Shot:
        async def timed() -> Any:
            begun = time.perf_counter_ns()
            answer = await call()
            self._note(kind, begun)
            return answer

        return Shot(lambda: _RUNNER.run(timed()))

    def reserve_by_client(self, book: Book) -> Shot:
        """One reservation through the ordinary client."""
        symbol, items = book.next_items(1, "c")
        fire = self.by_client("client: one reserve", book.reserve_call(symbol, items)).fire
        return Shot(fire, expected=[0], after=lambda: self._release(book, symbol, items))

    def by_lock(self, kind: str, book: Book, pipelined: bool) -> Shot:
        """The same grant guarded by redis-py's Lock; `pipelined`: all reads in one trip, all writes in another."""
        symbol, items = book.next_items(1, "p" if pipelined else "l")
        keys, item = book.keys, items[0]

        def fire() -> Any:
            begun = time.perf_counter_ns()
            with self.client.lock(f"{keys.prefix}:lock", timeout=10):
                if self._checked(keys, symbol, item, pipelined):
                    self._set(keys, symbol, item, pipelined)
            self._note(kind, begun)

        return Shot(fire, after=lambda: self._release(book, symbol, items))

    def _checked(self, keys: Keys, symbol: str, item: Reservation, pipelined: bool) -> bool:
        reads: list[tuple[str | int, ...]] = [
            ("GET", keys.fence(symbol)),
            ("HGET", keys.slots(symbol), item.slot),
            ("HMGET", keys.funds_symbol(symbol), "allocated", "used", "reserved", "paused"),
            ("HMGET", keys.funds, "pool", "used", "reserved", "paused", "short"),
        ]
        fence, last, share, pot = self._run(reads, pipelined)
        fresh = fence == "1" and int(last or -1) < item.sequence
        return fresh and all(
            int(limit) >= int(used or 0) + int(held or 0) + item.units for limit, used, held, *_ in (share, pot)
        )

    def _set(self, keys: Keys, symbol: str, item: Reservation, pipelined: bool) -> None:
        writes: list[tuple[str | int, ...]] = [
            ("HSET", keys.slots(symbol), item.slot, item.sequence),
            ("HSET", keys.reservations(symbol), item.id, item.units),
            ("HSET", keys.intents(symbol), item.id, item.intent),
            ("HSET", keys.cells(symbol), item.cell_key, item.cell),
            ("HINCRBY", keys.funds, "reserved", item.units),
            ("HINCRBY", keys.funds_symbol(symbol), "reserved", item.units),
        ]
        self._run(writes, pipelined)

    def _run(self, commands: Sequence[tuple[str | int, ...]], pipelined: bool) -> list[Any]:
        if not pipelined:
            return [self.client.execute_command(*command) for command in commands]
        pipe = self.client.pipeline(transaction=True)
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute())


@dataclass(frozen=True)
class Bound:
    """A claim about the ratio of two medians; without limits it is for information."""

    claim: str
    over: str
    under: str
    least: float = 0
    most: float = float("inf")

    def ratio(self, medians: Mapping[str, float]) -> float:
        return medians[self.over] / medians[self.under]

    def holds(self, medians: Mapping[str, float]) -> bool:
        return self.least <= self.ratio(medians) <= self.most


BOUNDS = (
    Bound("one reserve <= 1.6 x an empty EVALSHA", "program: one reserve", "program: empty", 0, 1.6),
    Bound("20 in one call <= 4 x one reserve", "20 reserves", "one reserve", 0, 4),
    Bound(">= 5 x faster than Lock + check + set", "client: Lock, check, set", "client: one reserve", 5),
    Bound("flat from 3 to 500 symbols", "500 symbols", "3 symbols", 1 - FLAT, 1 + FLAT),
    Bound("flat from 100 to 100,000 open", "100,000 open", "100 open", 1 - FLAT, 1 + FLAT),
)
NOTES = (
    Bound("one reserve / the same call emptied", "client: one reserve", "client: empty, same"),
    Bound("one reserve / argument-less empty, client", "client: one reserve", "client: empty"),
    Bound("one reserve / argument-less empty, raw", "one reserve", "empty"),
    Bound("one reserve / empty with its arguments", "one reserve", "empty, same arguments"),
    Bound("pipelined Lock / one reserve", "client: Lock, pipelined", "client: one reserve"),
)


def sample(bench: Bench, books: Mapping[str, Book], rounds: int) -> None:
    """Every kind once a round, in a new order each round; the first rounds do not count."""
    rng = random.Random(1)
    for number in range(rounds + WARM_UP):
        if number == WARM_UP:
            bench.samples.clear()
        shots = prepare(bench, books)
        rng.shuffle(shots)
        answers = [shot.fire() for shot in shots]
        for shot, answer in zip(shots, answers, strict=True):
            assert shot.expected in (None, answer), answer
            if shot.after is not None:
                shot.after()


def prepare(bench: Bench, books: Mapping[str, Book]) -> list[Shot]:
    """One call of each kind. For information: an empty script that is sent what one reserve is sent."""
    main = books["main"]
    same = main.reserve_call(*main.next_items(1, "e"))
    return [
        bench.script("empty", Call("return 0", [], [])),
        bench.script("empty, same arguments", Call("return 0", same.keys, same.args)),
        bench.reserve("one reserve", main, 1),
        bench.reserve("20 reserves", main, BATCH),
        bench.empty_by_program(),
        bench.reserve_by_program(main),
        bench.by_client("client: empty", Call("return 0", [], [])),
        bench.by_client("client: empty, same", Call("return 0", same.keys, same.args)),
        bench.reserve_by_client(main),
        bench.by_lock("client: Lock, check, set", main, pipelined=False),
        bench.by_lock("client: Lock, pipelined", main, pipelined=True),
        *(bench.reserve(kind, book, 1) for kind, book in books.items() if kind != "main"),
    ]


@contextmanager
def bench_on(kind: str) -> Iterator[Bench]:
    """A fresh server of that kind, with a client and a raw connection."""
    binary = debian_redis() if kind == "redis-7" else None
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), binary) as url:
        expect_server(url, kind)
        program = connect(url)
        client = sync_redis.Redis.from_url(url, decode_responses=True)
        raw = client.connection_pool.get_connection()
        try:
            yield Bench(program, client, raw)
        finally:
            client.connection_pool.release(raw)
            client.close()
            _RUNNER.run(program.aclose())


def measure(kind: str, rounds: int) -> dict[str, list[float]]:
    """Fill the accounts, then sample; times (µs) by kind of call."""
    books = {
        "main": Book("main", symbols=10, open_each=20),
        "3 symbols": Book("three", symbols=3, open_each=20),
        "500 symbols": Book("many", symbols=500, open_each=20),
        "100 open": Book("few-open", symbols=1, open_each=100),
        "100,000 open": Book("many-open", symbols=1, open_each=100_000),
    }
    with bench_on(kind) as bench:
        for book in books.values():
            book.fill(bench.client)
        gc.disable()
        sample(bench, books, rounds)
        gc.enable()
        return bench.samples


def report(kind: str, samples: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians, quartiles and the bounds, as plain data."""
    medians = {name: median(times) for name, times in samples.items()}
    return {
        "server": kind,
        "rounds": len(samples["empty"]),
        "microseconds": {
            name: dict(zip(("p25", "p50", "p75"), (round(cut, 1) for cut in quantiles(times)), strict=True))
            for name, times in samples.items()
        },
        "bounds": [
            {"claim": bound.claim, "ratio": round(bound.ratio(medians), 3), "holds": bound.holds(medians)}
            for bound in BOUNDS
        ],
        "notes": [{"claim": note.claim, "ratio": round(note.ratio(medians), 3)} for note in NOTES],
    }


def table(found: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [f"{found['server']}, {found['rounds']} rounds{'':12}    p25     p50     p75  µs"]
    for name, cuts in sorted(found["microseconds"].items(), key=lambda pair: pair[1]["p50"]):
        lines.append(f"{name:32} {cuts['p25']:7.1f} {cuts['p50']:7.1f} {cuts['p75']:7.1f}")
    lines.append("")
    for bound in found["bounds"]:
        lines.append(f"{bound['claim']:40} {bound['ratio']:7.2f}  {'holds' if bound['holds'] else 'DOES NOT HOLD'}")
    lines += [f"{note['claim']:40} {note['ratio']:7.2f}  (for information)" for note in found["notes"]]
    return "\n".join(lines)


def main() -> int:
    """Measure and tell; 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description="What a grant costs")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=1500, help="samples of each kind")
    parser.add_argument("--server", choices=["valkey-9", "redis-7"], default="valkey-9")
    own = parser.parse_args()
    found = report(own.server, measure(own.server, own.rounds))
    print(json.dumps(found) if own.json else table(found))
    return 0 if all(bound["holds"] for bound in found["bounds"]) else 1


if __name__ == "__main__":
    sys.exit(main())
