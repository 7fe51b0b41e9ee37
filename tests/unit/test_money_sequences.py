"""What a symbol has in use returns to exactly 0 with its inventory, whatever is bought, sold and paid in fees.

Seeded random histories run through the tick's own fold: books, cells and the moves that the pot is asked to make.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal

from tasks.base.keys import Keys
from tasks.base.money import MAX_QUOTE, ZERO, exact, units_down
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Market, Order, OrderStatus, Side, Trade
from tasks.funds import store
from tasks.funds.models import FillMove, FundCode, Reservation
from tasks.grid.models import Cell
from tasks.grid.sizing import reserve_units
from tasks.ledger.models import Book
from tasks.orders.models import Evidence, Intent
from tasks.tick.fold import Folded, fold, writes
from tests.support.pot import allow, codes_of

SYMBOL = "BTC/USDT"
KEYS = Keys("main")
SEQUENCES = 10_000
THROUGH_SCRIPTS = 200
POOL = units_down(MAX_QUOTE)
BNB = Decimal("312.51")
MARKETS = [
    Market(
        symbol=SYMBOL,
        base="BTC",
        quote="USDT",
        tick_size=Decimal(tick),
        lot_step=Decimal(lot),
        maker_fee=Decimal("0.001"),
        taker_fee=Decimal("0.001"),
    )
    for tick, lot in (("0.01", "0.00001"), ("0.0001", "0.1"), ("0.00000001", "1"), ("0.1", "0.00000001"))
]


@dataclass
class Step:
    """One settled order: its journal entry before, and what the fold made of it."""

    intent: Intent
    folded: Folded


@dataclass
class History:
    """One or several cells traded at random until nothing is held."""

    rng: random.Random
    market: Market = field(init=False)
    book: Book = field(init=False)
    cells: dict[str, Cell] = field(init=False)
    now_ms: int = 1_000
    used: int = 0

    def __post_init__(self) -> None:
        """A market, and one to three empty cells."""
        self.market = self.rng.choice(MARKETS)
        self.book = Book(symbol=SYMBOL)
        low = self._price()
        self.cells = {
            f"g-{index}": Cell(key=f"g-{index}", grid_id="g", index=index, buy_price=low, sell_price=low)
            for index in range(self.rng.choice([1, 1, 2, 3]))
        }

    def _price(self) -> Decimal:
        return self.market.tick_size * self.rng.randint(10_000, 9_999_999)

    def steps(self) -> Iterator[Step]:
        """Up to four random orders, then sales of all that is left."""
        for _ in range(self.rng.randint(1, 4)):
            cell = self.rng.choice(list(self.cells.values()))
            lots = int(cell.qty / self.market.lot_step)
            if lots and self.rng.random() < 0.5:
                yield self._order(cell, Side.SELL, self.rng.randint(1, lots) * self.market.lot_step)
            else:
                yield self._order(cell, Side.BUY, self.rng.randint(1, 99_999) * self.market.lot_step)
        for key in list(self.cells):
            if self.cells[key].qty:
                yield self._order(self.cells[key], Side.SELL, self.cells[key].qty)

    def _order(self, cell: Cell, side: Side, qty: Decimal) -> Step:
        """An order, partly or fully filled by one to three trades, and settled."""
        self.now_ms += 1_000
        closing = qty == cell.qty and side is Side.SELL
        short = side is Side.SELL and qty * 2 > cell.qty  # what is sold and a fee in base must both be held
        coin = self.rng.choice(["USDT", "BNB"] if short else ["USDT", "BTC", "BNB"])
        price = self._price()
        units = reserve_units(price, qty, self.market.taker_fee) if side is Side.BUY else 0
        intent = Intent(
            client_id=f"{cell.key}-{side.value[0]}-{self.now_ms}",
            symbol=SYMBOL,
            cell_key=cell.key,
            side=side,
            price=price,
            qty=qty,
            cycle=cell.cycle,
            units=units,
            post_only=False,
            created_ms=self.now_ms,
            units_left=units,
        )
        trades = self._trades(intent, coin, qty if closing else self._part(qty))
        return self._fold(intent, trades)

    def _part(self, qty: Decimal) -> Decimal:
        lots = int(qty / self.market.lot_step)
        return self.rng.choice([lots, self.rng.randint(0, lots)]) * self.market.lot_step

    def _trades(self, intent: Intent, coin: str, filled: Decimal) -> tuple[Trade, ...]:
        parts: list[Decimal] = []
        while filled and len(parts) < 2:
            parts.append(self._part(filled))
            filled -= parts[-1]
        return tuple(self._trade(intent, number, coin, qty) for number, qty in enumerate([*parts, filled]) if qty)

    def _trade(self, intent: Intent, number: int, coin: str, qty: Decimal) -> Trade:
        """Buys at or below the limit, sales anywhere; up to 0.1 % in fees, or none."""
        price = intent.price if intent.side is Side.SELL else intent.price - self.market.tick_size * number
        rate = self.rng.choice([ZERO, Decimal("0.001"), Decimal("0.00075"), Decimal(self.rng.randint(1, 999)) / 10**6])
        worth = {"BTC": Decimal(1), "USDT": price, "BNB": price / BNB}[coin]
        return Trade(
            trade_id=f"{intent.client_id}-{number}",
            exchange_id=intent.client_id,
            client_id=intent.client_id,
            symbol=SYMBOL,
            side=intent.side,
            price=price,
            qty=qty,
            fee=(qty * worth * rate).quantize(Decimal("1e-10"), ROUND_FLOOR),
            fee_currency=coin,
            maker=True,
            at_ms=self.now_ms + number,
        )

    def _fold(self, intent: Intent, trades: tuple[Trade, ...]) -> Step:
        filled = sum((trade.qty for trade in trades), ZERO)
        found = Order(
            exchange_id=intent.client_id,
            client_id=intent.client_id,
            symbol=SYMBOL,
            side=intent.side,
            price=intent.price,
            qty=intent.qty,
            filled=filled,
            status=OrderStatus.FILLED if filled == intent.qty else OrderStatus.CANCELLED,
            at_ms=self.now_ms,
        )
        evidence = {intent.client_id: Evidence(looked_up=True, found=found, trades=trades)}
        intents = {intent.client_id: intent}
        folded = fold(self.book, self.cells, intents, evidence, self.market, self.now_ms, 1_000, {"BNB": BNB}, ZERO)
        assert [ended.client_id for ended in folded.ended] == [intent.client_id]
        self.book, self.cells = folded.book, folded.cells
        return Step(intent, folded)

    def check(self, intent: Intent, moves: Sequence[FillMove]) -> None:
        """Move by move: nothing negative, a buy within what it reserved, the sum equal to the cells'."""
        taken = 0
        for move in moves:
            self.used += move.used_delta
            taken += move.take_units
            assert self.used >= 0
            assert (move.used_delta >= 0) == (intent.side is Side.BUY) or move.used_delta == 0
            assert intent.side is Side.SELL or move.used_delta <= move.take_units
        assert 0 <= taken <= intent.units
        assert self.used == sum(cell.used_units for cell in self.cells.values())
        assert all(cell.basis >= 0 for cell in self.cells.values())

    def check_end(self) -> None:
        """Nothing held, nothing in use, and the books agree to the last digit."""
        assert self.used == 0
        for cell in self.cells.values():
            assert cell.qty == cell.basis == cell.used_units == 0
        with exact():
            assert self.book.base == self.book.basis == 0
            assert self.book.cash - self.book.other_value == self.book.grid_profit


def test_used_is_zero_with_the_inventory() -> None:
    """10,000 histories: the deltas of `used` sum to 0, and are never below it on the way."""
    fills = 0
    coins: set[tuple[Side, str]] = set()
    for seed in range(SEQUENCES):
        history = History(random.Random(seed))
        for step in history.steps():
            history.check(step.intent, step.folded.moves)
            fills += len(step.folded.fills)
            coins.update((fill.side, fill.fee_currency) for fill in step.folded.fills)
        history.check_end()
    assert fills > 3 * SEQUENCES
    assert coins == {(side, coin) for side in Side for coin in ("USDT", "BTC", "BNB")}


async def test_the_pot_is_empty_with_the_inventory(redis: RedisClient) -> None:
    """200 histories through the scripts, one pot: used and reserved are exactly 0 after each."""
    await allow(redis, KEYS, POOL, {SYMBOL: POOL})
    for seed in range(THROUGH_SCRIPTS):
        history = History(random.Random(seed), now_ms=1 + seed * 10**6)
        for step in history.steps():
            await through_the_pot(redis, step)
            history.check(step.intent, step.folded.moves)
            assert await redis.hget(KEYS.funds, "used") == str(history.used)
        history.check_end()
        for key in (KEYS.funds, KEYS.funds_symbol(SYMBOL)):
            assert await redis.hmget(key, ["used", "reserved"]) == ["0", "0"]
        assert await redis.hlen(KEYS.reservations(SYMBOL)) == 0


async def through_the_pot(redis: RedisClient, step: Step) -> None:
    """Reserve the order and, by turns, record its end with its fills or record the fills and release the rest."""
    order, symbol = step.intent, SYMBOL
    item = Reservation(
        id=order.client_id,
        slot=order.client_id,
        sequence=0,
        units=order.units,
        intent=order.model_dump_json(),
        cell_key=order.cell_key,
        cell="{}",
    )
    answer = await store.reserve(redis, keys=KEYS, symbol=symbol, fence=0, now_ms=1, items=[item])
    assert codes_of(answer) == [FundCode.OK]
    assert await redis.hget(KEYS.reservations(symbol), order.client_id) == str(order.units)
    release_last = bool(order.created_ms // 1000 % 2)
    code = await store.record(
        redis,
        keys=KEYS,
        symbol=symbol,
        fence=0,
        fills=step.folded.moves,
        ended=[] if release_last else [order.client_id],
        writes=writes(step.folded, KEYS, symbol),
    )
    assert code is FundCode.OK
    if release_last:
        rest = order.units - sum(move.take_units for move in step.folded.moves)
        answer_of_release = await store.release(redis, keys=KEYS, symbol=symbol, fence=0, ids=[order.client_id])
        assert answer_of_release == (FundCode.OK, rest)
