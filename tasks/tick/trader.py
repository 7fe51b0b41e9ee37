"""`GridTrader`: ticks one symbol. A tick reads everything anew and may be killed anywhere."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial

from tasks.base.clock import to_ms
from tasks.base.errors import GridflowError, LeaseLost, StateError
from tasks.base.events import publish_event
from tasks.base.money import from_units
from tasks.exchange.models import Market, Order, Placement
from tasks.funds.models import FundCode, Write
from tasks.grid.cells import with_order
from tasks.grid.levels import build_cells, build_grid, grid_id
from tasks.grid.models import Grid, GridPlan, Limits
from tasks.grid.planner import plan
from tasks.market.models import Snapshot
from tasks.market.rules import distance_to_level, next_interval, variance_rate
from tasks.orders.models import IntentState
from tasks.tick import store
from tasks.tick.desk import Desk
from tasks.tick.evidence import gather_evidence, third_coin_prices
from tasks.tick.fold import Folded, fold, writes
from tasks.tick.lease import kept_lease
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.recover import open_books, recover
from tasks.tick.regrid import regrid, spent
from tasks.tick.sending import Granted, amiss, intent_of, outcome_of, requests, reservation_of
from tasks.tick.store import published
from tasks.tick.strays import seen_twice, unjournalled

log = logging.getLogger(__name__)
SAMPLES = 30
Checkpoint = Callable[[str], None]
Gate = Callable[[], Awaitable[None]]


class LeaseHeld(GridflowError):
    """Somebody else ticks this symbol; try again after `wait_ms`."""

    def __init__(self, symbol: str, wait_ms: int) -> None:
        self.symbol, self.wait_ms = symbol, wait_ms
        super().__init__(f"{symbol}: the lease is held elsewhere for another {wait_ms} ms")


def _nothing(step: str) -> None:
    """The default checkpoint."""


class GridTrader:
    """One symbol under a fenced lease. `checkpoint(step)` is called after each step, for tests that kill there."""

    def __init__(self, desk: Desk, market: Market, owner: str, checkpoint: Checkpoint = _nothing) -> None:
        self.desk, self.market, self.owner = desk, market, owner
        self.symbol = market.symbol
        self._checkpoint = checkpoint

    async def tick(self, gate: Gate | None = None) -> TickReport:
        """One pass: read, reconcile, fold, plan, apply. Raises LeaseHeld, LeaseLost or ExchangeUnavailable.

        `gate` is asked before the exchange is, where a circuit breaker is not at rest; it may raise to skip the tick.
        """
        started_ms = self._now()
        state = await self._begin()
        self._checkpoint("begun")
        if state.troubled and gate is not None:
            await gate()
        async with kept_lease(self.desk, self.symbol, self.owner):
            return await self._pass(state, started_ms)

    async def _pass(self, state: SymbolState, started_ms: int) -> TickReport:
        if state.grid is None and await recover(self.desk, self.market, state):
            await self.desk.allocator.rebalance_if_needed(force=True, reason="recovery")
            state = await self._begin()
        newest = max((intent.created_ms for intent in state.intents.values()), default=0)
        open_orders = await self.desk.exchange.open_orders(self.symbol, not_before_ms=newest)
        ticker = await self.desk.exchange.ticker(self.symbol)
        snapshot = Snapshot(market=self.market, ticker=ticker)
        self._checkpoint("read")
        asked_ms = self._now()  # what is found missing was missing then, however long the answers take
        booked = partial(store.booked_trades, self.desk.redis, self.desk.keys, self.symbol)
        intents = list(state.intents.values())
        evidence = await gather_evidence(
            self.desk.exchange, self.symbol, intents, open_orders, state.book.cursor_ms, booked
        )
        prices = await third_coin_prices(self.desk.exchange, state.intents.values(), evidence, self.market)
        self._checkpoint("evidence")
        folded = fold(
            state.book, state.cells, state.intents, evidence, self.market, asked_ms, self._protection_ms, prices
        )
        await self._commit(state, folded)
        self._checkpoint("recorded")
        grid = await self._grid(state, folded, snapshot)
        limits = await self._limits(state, folded, snapshot)
        planned = plan(snapshot, grid, list(folded.cells.values()), limits)
        strays = unjournalled(state, open_orders)
        await self._cancel(planned, folded, seen_twice(state, strays))
        self._checkpoint("cancelled")
        granted, refused = await self._reserve(state, planned, folded)
        self._checkpoint("reserved")
        answers = await self._send(granted)
        self._checkpoint("sent")
        outcome = outcome_of(granted, answers, folded, self.market, self._now())
        report = self._report(started_ms, state, outcome, planned, answers, refused, strays, snapshot, grid)
        await self._finish(state, outcome, grid, report)
        self._checkpoint("finished")
        return report

    async def end_lease(self) -> None:
        """Let the next window start at once."""
        await store.end_lease(self.desk.redis, keys=self.desk.keys, symbol=self.symbol, owner=self.owner)

    def _now(self) -> int:
        return to_ms(self.desk.clock())

    @property
    def _protection_ms(self) -> int:
        return int(self.desk.settings.trading.protection_seconds * 1000)

    async def _begin(self, *, may_open: bool = True) -> SymbolState:
        state, wait_ms = await store.begin(
            self.desk.redis, keys=self.desk.keys, symbol=self.symbol, owner=self.owner, lease_ms=self.desk.lease_ms
        )
        if state is None:
            raise LeaseHeld(self.symbol, wait_ms)
        if state.share.registered:
            return state
        if may_open:  # Redis has lost everything under a running worker
            await open_books(self.desk, await self._all_markets(), self.owner)
            return await self._begin(may_open=False)
        raise StateError(f"{self.symbol} has no share of the pot; start a worker with this symbol configured")

    async def _all_markets(self) -> Mapping[str, Market]:
        return await self.desk.exchange.markets(list(self.desk.settings.symbols))

    async def _commit(self, state: SymbolState, folded: Folded) -> None:
        if not folded.anything:
            return
        code = await self.desk.allocator.record_trade(
            self.symbol,
            state.fence,
            fills=folded.moves,
            ended=[intent.client_id for intent in folded.ended],
            writes=writes(folded, self.desk.keys, self.symbol),
        )
        self._demand(code, state)
        for fill in folded.fills:
            log.info(
                "fill booked",
                extra={
                    "symbol": self.symbol,
                    "side": fill.side.value,
                    "price": str(fill.price),
                    "qty": str(fill.qty),
                    "profit": str(fill.profit),
                },
            )

    def _demand(self, code: FundCode, state: SymbolState) -> None:
        if code is FundCode.STALE_FENCE:
            raise LeaseLost(self.symbol, state.fence)
        if code is FundCode.CONFLICT:
            raise StateError(f"{self.symbol}: the books moved under a tick; the next tick reads them again")

    async def _grid(self, state: SymbolState, folded: Folded, snapshot: Snapshot) -> Grid:
        """The grid in force; a new one at first sight or when the settings name another."""
        configured = self.desk.settings.symbols[self.symbol]
        wanted = grid_id(self.symbol, configured)
        if state.grid is not None and state.grid.grid_id == wanted:
            return state.grid
        cycles = await store.next_cycles(self.desk.redis, keys=self.desk.keys, symbol=self.symbol)
        allocated = from_units(state.share.allocated_units)
        grid = build_grid(self.symbol, configured, self.market, snapshot.price, allocated, self._now())
        changes = regrid(folded, grid, build_cells(grid, configured.start, cycles), self.desk.keys)
        code, _ = await self.desk.allocator.release(self.symbol, state.fence, ids=[], writes=changes)
        self._demand(code, state)
        log.info("grid set", extra={"symbol": self.symbol, "grid": grid.grid_id, "cells": configured.cells})
        return grid

    async def _limits(self, state: SymbolState, folded: Folded, snapshot: Snapshot) -> Limits:
        """What the pot would grant, seen from the tick's own reading and its own fold. Scripts have the last word."""
        spent = sum(move.used_delta - move.take_units for move in folded.moves)
        freed = sum(intent.units_left for intent in folded.ended)
        return Limits(
            symbol_free=state.share.free_units - spent + freed,
            global_free=state.pool_free_units - spent + freed,
            paused=state.paused or state.share.paused,
            stopped=state.stopped,
            refused=state.last.refused if state.last else {},
            stale=self._now() - snapshot.ticker.at_ms > self.desk.settings.trading.stale_price_seconds * 1000,
            now_ms=self._now(),
        )

    async def _cancel(self, planned: GridPlan, folded: Folded, strays: Sequence[Order]) -> None:
        ids = [folded.intents[client_id].exchange_id for client_id in planned.cancel if client_id in folded.intents]
        ids += [order.exchange_id for order in strays]
        await self.desk.exchange.cancel(self.symbol, [exchange_id for exchange_id in ids if exchange_id])
        for order in strays:
            await self._tell_of(order)

    async def _tell_of(self, stray: Order) -> None:
        facts = {"symbol": self.symbol, "id": stray.client_id, "filled": str(stray.filled)}
        log.error("an order of ours without a journal entry: cancelled; what it filled is in no book", extra=facts)
        await publish_event(self.desk.redis, self.desk.keys, "stray_order", facts)

    async def _reserve(
        self, state: SymbolState, planned: GridPlan, folded: Folded
    ) -> tuple[list[Granted], dict[str, str]]:
        """Journal and fund the planned orders; the granted ones, and why the pot refused the others by cell."""
        if not planned.place:
            return [], _still_refused(planned)
        now = self._now()
        intents = [intent_of(order, self.symbol, now) for order in planned.place]
        cells = [with_order(folded.cells[order.cell_key], order) for order in planned.place]
        answers = await self.desk.allocator.reserve(
            self.symbol,
            state.fence,
            [reservation_of(intent, cell) for intent, cell in zip(intents, cells, strict=True)],
        )
        granted, refused = [], _still_refused(planned)
        for intent, cell, answer in zip(intents, cells, answers, strict=True):
            self._demand(answer.code, state)
            if answer.grant is not None:
                granted.append(Granted(intent, answer.grant))
                folded.cells[cell.key] = cell
                folded.intents[intent.client_id] = intent
            elif answer.code is not FundCode.ALREADY:
                refused[cell.key] = answer.code.name
        return granted, refused

    async def _send(self, granted: Sequence[Granted]) -> list[Placement]:
        valid_ms = int(self.desk.settings.trading.request_valid_seconds * 1000)
        return await self.desk.exchange.place(requests(granted, valid_ms))

    async def _finish(self, state: SymbolState, outcome: Folded, grid: Grid, report: TickReport) -> None:
        """Write the answers, drop what earlier grids have left behind, and make the tick visible: one script."""
        keys = self.desk.keys
        left_behind = [key for key, cell in outcome.cells.items() if spent(cell) and cell.grid_id != grid.grid_id]
        outcome.touched -= set(left_behind)
        changes = writes(outcome, keys, self.symbol)
        changes += [Write(key=keys.cells(self.symbol), verb="HDEL", field=key) for key in left_behind]
        changes += published(keys, report)
        code, _ = await self.desk.allocator.release(
            self.symbol, state.fence, ids=[intent.client_id for intent in outcome.ended], writes=changes
        )
        self._demand(code, state)

    def _report(
        self,
        started_ms: int,
        state: SymbolState,
        outcome: Folded,
        planned: GridPlan,
        answers: Sequence[Placement],
        refused: dict[str, str],
        strays: Sequence[Order],
        snapshot: Snapshot,
        grid: Grid,
    ) -> TickReport:
        trading = self.desk.settings.trading
        now = self._now()
        earlier = state.last.samples if state.last else ()
        samples = (*earlier, (now, snapshot.price))[-SAMPLES:]
        interval = next_interval(
            distance_to_level(snapshot.price, grid.levels),
            variance_rate(samples),
            trading.tick_min_seconds,
            trading.tick_max_seconds,
        )
        booked = outcome.book.buys + outcome.book.sells
        fills = booked - state.book.buys - state.book.sells
        if answers or fills or len(samples) < 3:
            interval = trading.tick_min_seconds  # something is moving, or nothing is known yet: look again soon
        return TickReport(
            symbol=self.symbol,
            at_ms=now,
            duration_ms=now - started_ms,
            fence=state.fence,
            price=snapshot.price,
            fills=fills,
            total_ticks=(state.last.total_ticks if state.last else 0) + 1,
            total_fills=booked,
            placed=len(answers),
            not_placed=sum(map(amiss, answers)),
            strays=tuple(order.client_id for order in strays),
            cancelled=len(planned.cancel),
            refused=refused,
            idle={key: reason.value for key, reason in planned.idle_reasons.items()} | refused,
            resolving=sum(intent.state is IntentState.UNKNOWN for intent in outcome.intents.values()),
            next_in=interval.quantize(Decimal("0.001")),
            samples=samples,
        )


def _still_refused(planned: GridPlan) -> dict[str, str]:
    limits = {FundCode.SYMBOL_LIMIT.name, FundCode.GLOBAL_LIMIT.name}
    return {key: reason.value for key, reason in planned.idle_reasons.items() if reason.value in limits}
