"""`GridTrader`: ticks one symbol. A tick reads everything anew and may be killed anywhere."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from tasks.base.clock import to_ms
from tasks.base.errors import GridflowError, LeaseLost, StateError
from tasks.base.events import EventKind, publish_event
from tasks.base.money import from_units
from tasks.exchange.models import Market, Order, Placement
from tasks.exchange.order_ids import account_tag
from tasks.funds.models import FundCode, Write
from tasks.grid.cells import with_order
from tasks.grid.levels import build_cells, build_grid, grid_id
from tasks.grid.models import Grid, GridPlan
from tasks.grid.planner import plan
from tasks.market.models import Snapshot
from tasks.orders.evidence import gather_evidence, third_coin_prices
from tasks.settings.grids import StartMode, SymbolSettings
from tasks.tick import retiring, store
from tasks.tick.desk import Desk
from tasks.tick.fold import Folded, fold, writes
from tasks.tick.lease import kept_lease
from tasks.tick.limits import limits_of, resting_buys, still_refused
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.recover import open_books, recover
from tasks.tick.regrid import is_empty, level_cells, move_dust, regrid, slot_writes
from tasks.tick.report import Tick, report_of
from tasks.tick.sending import Granted, intent_of, outcome_of, requests, reservation_of
from tasks.tick.sharing import share_pot
from tasks.tick.slots import first_cycle
from tasks.tick.store import published
from tasks.tick.strays import seen_twice, unjournalled

log = logging.getLogger(__name__)
Checkpoint = Callable[[str], None]
Gate = Callable[[], Awaitable[None]]


class LeaseHeld(GridflowError):
    """Somebody else ticks this symbol; try again after `wait_ms`."""

    def __init__(self, symbol: str, wait_ms: int) -> None:
        self.symbol, self.wait_ms = symbol, wait_ms
        super().__init__(f"{symbol}: the lease is held elsewhere for another {wait_ms} ms")


class SymbolLeft(GridflowError):
    """The symbol left the settings and has nothing any more: there is nothing to tick."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        super().__init__(f"{symbol} left the settings and holds nothing")


def _nothing(step: str) -> None:
    """The default checkpoint."""


class GridTrader:
    """One symbol under a fenced lease. `checkpoint(step)` is called after each step, for tests that kill there."""

    def __init__(self, desk: Desk, market: Market, owner: str, checkpoint: Checkpoint = _nothing) -> None:
        self.desk, self.market, self.owner = desk, market, owner
        self.symbol = market.symbol
        self._checkpoint = checkpoint

    async def tick(self, gate: Gate | None = None) -> TickReport:
        """One pass: read, reconcile, fold, plan, apply.

        Raises LeaseHeld, LeaseLost, SymbolLeft or ExchangeUnavailable. `gate` is asked before the exchange is, where a
        circuit breaker is not at rest; it may raise to skip the tick.
        """
        started_ms = self._now()
        state = await self._begin()
        self._checkpoint("begun")
        if state.troubled and gate is not None:
            await gate()
        async with kept_lease(self.desk, self.symbol, self.owner):
            return await self._pass(state, started_ms)

    async def _pass(self, state: SymbolState, started_ms: int) -> TickReport:
        if state.settings_version not in (0, self.desk.settings_version):
            await self.desk.follow_settings()
        if state.grid is None and not self._is_retiring and await recover(self.desk, self.market, state):
            await share_pot(self.desk, "recovery", force=True)
            state = await self._begin()
        newest = max((intent.created_ms for intent in state.intents.values()), default=0)
        open_orders = await self.desk.exchange.open_orders(self.symbol, not_before_ms=newest)
        ticker = await self.desk.exchange.ticker(self.symbol)
        snapshot = Snapshot(market=self.market, ticker=ticker)
        self._checkpoint("read")
        folded = await self._folded(state, open_orders)
        self._checkpoint("recorded")
        grid = await self._grid(state, folded, snapshot)
        if grid is None:
            await share_pot(self.desk, "symbol left")
            raise SymbolLeft(self.symbol)
        await self._move_dust(state, folded, grid, snapshot)
        limits = limits_of(self.desk.settings, state, folded, snapshot, self._now())
        cells, resting = list(folded.cells.values()), resting_buys(folded)
        planned = plan(snapshot, grid, cells, limits, resting, account_tag(self.desk.keys.account))
        if state.last is not None and state.last.limits_version != state.limits_version:
            self.on_allocation_updated(state, planned)
        strays = unjournalled(state, open_orders, self.desk.keys.account)
        await self._cancel(planned, folded, seen_twice(state, strays))
        self._checkpoint("cancelled")
        granted, refused = await self._reserve(state, planned, folded)
        self._checkpoint("reserved")
        answers = await self._send(granted)
        self._checkpoint("sent")
        outcome = outcome_of(granted, answers, folded, self.market, self._now())
        tick = Tick(started_ms, self._now(), state, snapshot, grid, planned, answers, refused, strays)
        report = report_of(tick, outcome, self.desk.settings.trading, retiring=self._is_retiring)
        await self._finish(state, outcome, grid, report)
        self._checkpoint("finished")
        if report.left:
            await share_pot(self.desk, "symbol left")
        return report

    def on_allocation_updated(self, state: SymbolState, planned: GridPlan) -> None:
        """The symbol's allocation may have changed: the plan already follows it; say what it does about it."""
        facts = {
            "symbol": self.symbol,
            "allocated": str(from_units(state.share.allocated_units)),
            "used": str(from_units(state.share.used_units)),
            "replaced": len(planned.resized),
            "waiting": planned.to_resize,
        }
        log.info("allocation updated", extra=facts)

    async def end_lease(self) -> None:
        """Let the next window start at once."""
        await store.end_lease(self.desk.redis, keys=self.desk.keys, symbol=self.symbol, owner=self.owner)

    @property
    def _is_retiring(self) -> bool:
        return self.symbol not in self.desk.settings.symbols

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
        if state.settings_version not in (0, self.desk.settings_version):
            await self.desk.follow_settings()
        if may_open and not self._is_retiring:  # a new symbol, or Redis has lost everything under a running worker
            await open_books(self.desk, await self._all_markets(), self.owner)
            return await self._begin(may_open=False)
        await self.end_lease()
        if self._is_retiring:
            raise SymbolLeft(self.symbol)
        raise StateError(f"{self.symbol} has no share of the pot; start a worker with this symbol configured")

    async def _all_markets(self) -> Mapping[str, Market]:
        return await self.desk.exchange.markets(list(self.desk.settings.symbols))

    async def _folded(self, state: SymbolState, open_orders: Sequence[Order]) -> Folded:
        """The state after what the exchange shows, committed."""
        asked_ms = self._now()  # what is found missing was missing then, however long the answers take
        booked = partial(store.booked_trades, self.desk.redis, self.desk.keys, self.symbol)
        intents = list(state.intents.values())
        evidence = await gather_evidence(
            self.desk.exchange, self.symbol, intents, open_orders, state.book.cursor_ms, booked
        )
        prices = await third_coin_prices(self.desk.exchange, intents, evidence, self.market)
        self._checkpoint("evidence")
        folded = fold(
            state.book,
            state.cells,
            state.intents,
            evidence,
            self.market,
            asked_ms,
            self._protection_ms,
            prices,
            from_units(state.share.allocated_units),
        )
        await self._commit(state, folded)
        return folded

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

    async def _grid(self, state: SymbolState, folded: Folded, snapshot: Snapshot) -> Grid | None:
        """The grid in force; a new one at first sight or when the settings name another.

        The last one for a symbol that left the settings; None where it never had one.
        """
        configured = self.desk.settings.symbols.get(self.symbol)
        if configured is None:
            return state.grid
        held = state.grid if state.grid and state.grid.grid_id == grid_id(self.symbol, configured) else None
        own = sum(cell.grid_id == held.grid_id for cell in folded.cells.values()) if held else 0
        if held is not None and own == len(held.levels) - 1:
            await self._write(state, level_cells(folded, held, self.desk.keys))
            return held
        slots = await store.order_slots(self.desk.redis, keys=self.desk.keys, symbol=self.symbol)
        grid = held if held is not None and own else self._new_grid(configured, state, snapshot)
        start = StartMode.FLAT if grid is held else configured.start
        fresh = build_cells(grid, start, first_cycle(slots, grid.grid_id))
        changes = regrid(folded, grid, fresh, self.desk.keys)
        changes += level_cells(folded, grid, self.desk.keys)
        changes += slot_writes(slots, list(folded.cells), grid.grid_id, self.desk.keys, self.symbol)
        await self._write(state, changes)
        log.info("grid set", extra={"symbol": self.symbol, "grid": grid.grid_id, "cells": configured.cells})
        return grid

    async def _write(self, state: SymbolState, changes: Sequence[Write]) -> None:
        """Write records that move no money."""
        if changes:
            code, _ = await self.desk.allocator.release(self.symbol, state.fence, ids=[], writes=changes)
            self._demand(code, state)

    def _new_grid(self, configured: SymbolSettings, state: SymbolState, snapshot: Snapshot) -> Grid:
        allocated = max(from_units(state.share.allocated_units), self.desk.allocator.even_share)
        return build_grid(self.symbol, configured, self.market, snapshot.price, allocated, self._now())

    async def _move_dust(self, state: SymbolState, folded: Folded, grid: Grid, snapshot: Snapshot) -> None:
        """What cells that no longer buy hold in remainders goes where it can be sold."""
        keys, now = self.desk.keys, self._now()
        if self._is_retiring:
            moved = retiring.gather_dust(folded, self.market, keys, now)
        else:
            moved = move_dust(folded, grid, snapshot.price, self.market, keys, now)
        if moved is None:
            return
        slots = await store.order_slots(self.desk.redis, keys=keys, symbol=self.symbol)
        changes = [*moved.writes, *slot_writes(slots, list(folded.cells), grid.grid_id, keys, self.symbol)]
        code = await self.desk.allocator.record_trade(self.symbol, state.fence, fills=moved.moves, writes=changes)
        self._demand(code, state)

    async def _cancel(self, planned: GridPlan, folded: Folded, strays: Sequence[Order]) -> None:
        ids = [folded.intents[client_id].exchange_id for client_id in planned.cancel if client_id in folded.intents]
        ids += [order.exchange_id for order in strays]
        await self.desk.exchange.cancel(self.symbol, [exchange_id for exchange_id in ids if exchange_id])
        for order in strays:
            await self._tell_of(order)

    async def _tell_of(self, stray: Order) -> None:
        facts = {"symbol": self.symbol, "id": stray.client_id, "filled": str(stray.filled)}
        log.error("an order of ours without a journal entry: cancelled; what it filled is in no book", extra=facts)
        await publish_event(self.desk.redis, self.desk.keys, EventKind.STRAY_ORDER, facts)

    async def _reserve(
        self, state: SymbolState, planned: GridPlan, folded: Folded
    ) -> tuple[list[Granted], dict[str, str]]:
        """Journal and fund the planned orders; the granted ones, and why the pot refused the others by cell."""
        if not planned.place:
            return [], still_refused(planned)
        now = self._now()
        intents = [intent_of(order, self.symbol, now) for order in planned.place]
        cells = [with_order(folded.cells[order.cell_key], order) for order in planned.place]
        asked = zip(planned.place, intents, cells, strict=True)
        answers = await self.desk.allocator.reserve(
            self.symbol,
            state.fence,
            [reservation_of(intent, order.purpose, cell) for order, intent, cell in asked],
        )
        granted, refused = [], still_refused(planned)
        for intent, cell, answer in zip(intents, cells, answers, strict=True):
            self._demand(answer.code, state)
            if answer.grant is not None:
                granted.append(Granted(intent, answer.grant))
                folded.cells[cell.key] = cell
                folded.intents[intent.client_id] = intent
            elif answer.code is not FundCode.ALREADY:
                refused[cell.key] = answer.code.name
                facts = {"symbol": self.symbol, "cell": cell.key, "reason": answer.code.name}
                log.info("buy refused by the pot", extra=facts | {"price": str(intent.price)})
        return granted, refused

    async def _send(self, granted: Sequence[Granted]) -> list[Placement]:
        valid_ms = int(self.desk.settings.trading.request_valid_seconds * 1000)
        return await self.desk.exchange.place(requests(granted, valid_ms))

    async def _finish(self, state: SymbolState, outcome: Folded, grid: Grid, report: TickReport) -> None:
        """Write the answers, drop what earlier grids have left behind, and make the tick visible: one script."""
        keys = self.desk.keys
        gone = [
            key
            for key, cell in outcome.cells.items()
            if is_empty(cell) and (report.left or cell.grid_id != grid.grid_id)
        ]
        outcome.touched -= set(gone)
        changes = writes(outcome, keys, self.symbol)
        if gone:
            slots = await store.order_slots(self.desk.redis, keys=keys, symbol=self.symbol)
            live = [key for key in outcome.cells if key not in gone]
            changes += store.dropped_cells(keys, self.symbol, gone)
            changes += slot_writes(slots, live, "" if report.left else grid.grid_id, keys, self.symbol)
        changes += published(keys, report)
        code, _ = await self.desk.allocator.release(
            self.symbol, state.fence, ids=[intent.client_id for intent in outcome.ended], writes=changes
        )
        self._demand(code, state)
