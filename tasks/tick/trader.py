"""`GridTrader`: ticks one symbol. A tick reads everything anew and may be killed anywhere."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import GridflowError, LeaseLost, RejectReason, StateError
from tasks.base.keys import Keys
from tasks.base.money import from_units
from tasks.base.redis import RedisClient
from tasks.base.settings import Settings
from tasks.exchange.models import Accepted, Market, OrderRequest, Placement, Rejected
from tasks.exchange.port import ExchangePort
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.models import FundCode, Reservation, Write
from tasks.grid.cells import with_order
from tasks.grid.levels import build_cells, build_grid, grid_id
from tasks.grid.models import Cell, CellState, Grid, GridPlan, Limits, PlannedOrder
from tasks.grid.planner import plan
from tasks.market.models import Snapshot
from tasks.market.rules import distance_to_level, next_interval, variance_rate
from tasks.orders.models import Intent, IntentState
from tasks.tick import store
from tasks.tick.evidence import gather_evidence, third_coin_prices
from tasks.tick.fold import Folded, fold, refuse, writes
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.store import published

log = logging.getLogger(__name__)
SAMPLES = 30
REJECTION_WAIT_MS = 30_000
Checkpoint = Callable[[str], None]


class LeaseHeld(GridflowError):
    """Somebody else ticks this symbol; try again after `wait_ms`."""

    def __init__(self, symbol: str, wait_ms: int) -> None:
        self.symbol, self.wait_ms = symbol, wait_ms
        super().__init__(f"{symbol}: the lease is held elsewhere for another {wait_ms} ms")


@dataclass(frozen=True)
class Desk:
    """What every trader of a process shares."""

    settings: Settings
    redis: RedisClient
    exchange: ExchangePort
    allocator: GlobalFundAllocator
    keys: Keys
    clock: Clock = utc_now


def _nothing(step: str) -> None:
    """The default checkpoint."""


class GridTrader:
    """One symbol under a fenced lease. `checkpoint(step)` is called after each step, for tests that kill there."""

    def __init__(self, desk: Desk, market: Market, owner: str, checkpoint: Checkpoint = _nothing) -> None:
        self.desk, self.market, self.owner = desk, market, owner
        self.symbol = market.symbol
        self._checkpoint = checkpoint

    async def tick(self) -> TickReport:
        """One pass: read, reconcile, fold, plan, apply. Raises LeaseHeld, LeaseLost or ExchangeUnavailable."""
        started_ms = self._now()
        state = await self._begin()
        self._checkpoint("begun")
        open_orders = await self.desk.exchange.open_orders(self.symbol)
        ticker = await self.desk.exchange.ticker(self.symbol)
        snapshot = Snapshot(market=self.market, ticker=ticker)
        self._checkpoint("read")
        evidence = await gather_evidence(
            self.desk.exchange, self.symbol, list(state.intents.values()), open_orders, state.book.cursor_ms
        )
        prices = await third_coin_prices(self.desk.exchange, evidence.values(), self.market)
        self._checkpoint("evidence")
        folded = fold(
            state.book, state.cells, state.intents, evidence, self.market, self._now(), self._protection_ms, prices
        )
        await self._commit(state, folded)
        self._checkpoint("recorded")
        grid = await self._grid(state, folded, snapshot)
        limits = await self._limits(state, folded)
        planned = plan(snapshot, grid, list(folded.cells.values()), limits)
        await self._cancel(planned, folded)
        self._checkpoint("cancelled")
        granted, refused = await self._reserve(state, planned, folded)
        self._checkpoint("reserved")
        answers = await self._send(granted)
        self._checkpoint("sent")
        outcome = self._outcome(granted, answers, folded)
        report = self._report(started_ms, state, outcome, planned, granted, refused, snapshot, grid)
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

    async def _begin(self) -> SymbolState:
        lease_ms = int(self.desk.settings.trading.lease_seconds * 1000)
        state, wait_ms = await store.begin(
            self.desk.redis, keys=self.desk.keys, symbol=self.symbol, owner=self.owner, lease_ms=lease_ms
        )
        if state is None:
            raise LeaseHeld(self.symbol, wait_ms)
        if not state.share.registered:
            raise StateError(f"{self.symbol} has no share of the pot; run `gridflow rebalance` or start a worker anew")
        return state

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
        now = self._now()
        allocated = from_units(state.share.allocated_units)
        grid = build_grid(self.symbol, configured, self.market, snapshot.price, allocated, now)
        cycles = await store.next_cycles(self.desk.redis, keys=self.desk.keys, symbol=self.symbol)
        fresh = {cell.key: cell for cell in build_cells(grid, configured.start, cycles)}
        gone = [key for key, cell in folded.cells.items() if _spent(cell) and key not in fresh]
        kept = {key: cell for key, cell in folded.cells.items() if not _spent(cell)}
        added = [cell for key, cell in fresh.items() if key not in kept]
        keys = self.desk.keys
        changes = [Write(key=keys.grid(self.symbol), verb="SET", value=grid.model_dump_json())]
        changes += [Write(key=keys.cells(self.symbol), verb="HDEL", field=key) for key in gone]
        changes += [
            Write(key=keys.cells(self.symbol), verb="HSET", field=cell.key, value=cell.model_dump_json())
            for cell in added
        ]
        if not state.book.opened_ms:
            folded.book = folded.book.model_copy(update={"opened_ms": now})
            changes.append(Write(key=keys.book(self.symbol), verb="SET", value=folded.book.model_dump_json()))
        code, _ = await self.desk.allocator.release(self.symbol, state.fence, ids=[], writes=changes)
        self._demand(code, state)
        folded.cells = {cell.key: cell for cell in [*kept.values(), *added]}
        log.info("grid set", extra={"symbol": self.symbol, "grid": grid.grid_id, "cells": len(fresh)})
        return grid

    async def _limits(self, state: SymbolState, folded: Folded) -> Limits:
        """What the pot would grant, seen from the tick's own reading and its own fold. Scripts have the last word."""
        spent = sum(move.used_delta - move.take_units for move in folded.moves)
        freed = sum(intent.units_left for intent in folded.ended)
        return Limits(
            symbol_free=state.share.free_units - spent + freed,
            global_free=state.pool_free_units - spent + freed,
            paused=state.paused or state.share.paused,
            stopped=state.stopped,
            refused=state.last.refused if state.last else {},
            now_ms=self._now(),
        )

    async def _cancel(self, planned: GridPlan, folded: Folded) -> None:
        ids = [folded.intents[client_id].exchange_id for client_id in planned.cancel if client_id in folded.intents]
        await self.desk.exchange.cancel(self.symbol, [exchange_id for exchange_id in ids if exchange_id])

    async def _reserve(
        self, state: SymbolState, planned: GridPlan, folded: Folded
    ) -> tuple[list[Intent], dict[str, str]]:
        """Journal and fund the planned orders; the granted ones, and why the pot refused the others by cell."""
        if not planned.place:
            return [], _still_refused(planned)
        now = self._now()
        intents = [_intent(order, self.symbol, now) for order in planned.place]
        cells = [with_order(folded.cells[order.cell_key], order) for order in planned.place]
        codes = await self.desk.allocator.reserve(
            self.symbol,
            state.fence,
            [_reservation(intent, cell) for intent, cell in zip(intents, cells, strict=True)],
        )
        granted, refused = [], _still_refused(planned)
        for intent, cell, code in zip(intents, cells, codes, strict=True):
            self._demand(code, state)
            if code is FundCode.OK:
                granted.append(intent)
                folded.cells[cell.key] = cell
                folded.intents[intent.client_id] = intent
            elif code is not FundCode.ALREADY:
                refused[cell.key] = code.name
        return granted, refused

    async def _send(self, granted: Sequence[Intent]) -> list[Placement]:
        valid_ms = int(self.desk.settings.trading.request_valid_seconds * 1000)
        return await self.desk.exchange.place(
            [
                OrderRequest(
                    client_id=intent.client_id,
                    symbol=intent.symbol,
                    side=intent.side,
                    price=intent.price,
                    qty=intent.qty,
                    post_only=intent.post_only,
                    signed_at_ms=intent.created_ms,
                    valid_ms=valid_ms,
                )
                for intent in granted
            ]
        )

    def _outcome(self, granted: Sequence[Intent], answers: Sequence[Placement], folded: Folded) -> Folded:
        """A clear yes opens the intent, a clear no gives its money back, anything else is left to be looked up."""
        outcome = Folded(book=folded.book, cells=folded.cells, intents=folded.intents)
        for intent, answer in zip(granted, answers, strict=True):
            if isinstance(answer, Accepted):
                update = {"state": IntentState.OPEN, "exchange_id": answer.order.exchange_id}
                outcome.changed.append(intent.model_copy(update=update))
            elif isinstance(answer, Rejected):
                log.warning(
                    "order refused by the exchange",
                    extra={"symbol": self.symbol, "id": intent.client_id, "reason": answer.reason.value},
                )
                wait = 0 if answer.reason is RejectReason.WOULD_TAKE else REJECTION_WAIT_MS
                refuse(outcome, intent, self.market, self._now() + wait, answer.reason.value, self._now())
            else:
                note = {"state": IntentState.UNKNOWN, "note": answer.detail}
                outcome.changed.append(intent.model_copy(update=note))
                log.warning("order outcome unknown", extra={"symbol": self.symbol, "id": intent.client_id})
        for intent in outcome.changed:
            outcome.intents[intent.client_id] = intent
        return outcome

    async def _finish(self, state: SymbolState, outcome: Folded, grid: Grid, report: TickReport) -> None:
        """Write the answers, drop what earlier grids have left behind, and make the tick visible: one script."""
        keys = self.desk.keys
        left_behind = [key for key, cell in outcome.cells.items() if _spent(cell) and cell.grid_id != grid.grid_id]
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
        granted: Sequence[Intent],
        refused: dict[str, str],
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
        if granted or fills or len(samples) < 3:
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
            placed=len(granted),
            cancelled=len(planned.cancel),
            refused=refused,
            idle={key: reason.value for key, reason in planned.idle_reasons.items()} | refused,
            resolving=sum(intent.state is IntentState.UNKNOWN for intent in outcome.intents.values()),
            next_in=interval.quantize(Decimal("0.001")),
            samples=samples,
        )


def _spent(cell: Cell) -> bool:
    """Whether nothing would be lost with the cell."""
    return cell.state is CellState.IDLE and cell.order_id is None and cell.qty == 0 and cell.basis == 0


def _still_refused(planned: GridPlan) -> dict[str, str]:
    limits = {FundCode.SYMBOL_LIMIT.name, FundCode.GLOBAL_LIMIT.name}
    return {key: reason.value for key, reason in planned.idle_reasons.items() if reason.value in limits}


def _intent(order: PlannedOrder, symbol: str, now_ms: int) -> Intent:
    return Intent(
        client_id=order.client_id,
        symbol=symbol,
        cell_key=order.cell_key,
        side=order.side,
        price=order.price,
        qty=order.qty,
        cycle=order.cycle,
        units=order.units,
        units_left=order.units,
        post_only=order.post_only,
        created_ms=now_ms,
    )


def _reservation(intent: Intent, cell: Cell) -> Reservation:
    return Reservation(
        id=intent.client_id,
        slot=f"{intent.cell_key}:{intent.side.value}",
        sequence=intent.cycle,
        units=intent.units,
        intent=intent.model_dump_json(),
        cell_key=cell.key,
        cell=cell.model_dump_json(),
    )
