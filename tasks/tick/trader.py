"""`GridTrader`: ticks one symbol. A tick reads all state again, so the process may be killed at any point."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial

from tasks.base.errors import GridflowError, RedisRestarted, StateError, UnknownSymbol
from tasks.base.log_context import log_fields
from tasks.base.money import ZERO, from_units
from tasks.exchange.models import Market, Ticker
from tasks.market.volatility import WANTED, recent_volatility
from tasks.orders.evidence import gather_evidence, third_coin_prices
from tasks.orders.rules import news
from tasks.tick import store
from tasks.tick.adopting import adopt_orders
from tasks.tick.base_watch import report_corrections
from tasks.tick.comparing import compare_books, compare_listed_again
from tasks.tick.decide import conclude, decide, last_records, records_of
from tasks.tick.decision import Decision, Readings, Rules
from tasks.tick.desk import Desk
from tasks.tick.grid_in_force import needs_slots, needs_volatility
from tasks.tick.lease import check_code, kept_lease
from tasks.tick.limits import needs_free_base, still_refused
from tasks.tick.listing import listed_markets
from tasks.tick.markets import filter_refused
from tasks.tick.models import SymbolState, TickReport
from tasks.tick.order_requests import batches, must_wait, requests
from tasks.tick.placing import Placed, put_off, reserve_batch
from tasks.tick.recover import open_books, recover
from tasks.tick.sharing import share_pot
from tasks.tick.trade_memory import SymbolTrades

log = logging.getLogger(__name__)
Checkpoint = Callable[[str], None]
BreakerCheck = Callable[[], Awaitable[None]]


class LeaseHeld(GridflowError):
    """Another worker holds the lease of this symbol; try again after `wait_ms`."""

    def __init__(self, symbol: str, wait_ms: int) -> None:
        self.symbol, self.wait_ms = symbol, wait_ms
        super().__init__(f"{symbol}: another worker holds the lease for up to {wait_ms} ms")


class SymbolLeft(GridflowError):
    """The symbol left the settings and holds nothing: there is nothing to tick."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        super().__init__(f"{symbol} left the settings and holds nothing")


def _no_checkpoint(step: str) -> None:
    """The default checkpoint."""


class GridTrader:
    """Ticks one symbol under a fenced lease.

    `checkpoint(step)` is called after each step; tests kill the tick there.
    """

    def __init__(self, desk: Desk, market: Market, owner: str, checkpoint: Checkpoint = _no_checkpoint) -> None:
        self.desk, self.market, self.owner = desk, market, owner
        self.symbol = market.symbol
        self._checkpoint = checkpoint

    async def tick(self, check_breakers: BreakerCheck | None = None) -> TickReport:
        """One pass: read, decide, apply.

        `check_breakers` is called before the first request to the exchange where a circuit breaker may be open. It
        raises to skip the tick. Raises LeaseHeld, LeaseLost, SymbolLeft or ExchangeUnavailable, and ConfigError where
        the configured grid cannot start.
        """
        started_ms = self._now()
        self.market = await self.desk.markets.latest(self.desk.exchange, self.market, started_ms)
        state = await self._begin()
        self._checkpoint("begun")
        if state.must_check_breakers and check_breakers is not None:
            await check_breakers()
        tick_number = state.last.total_ticks + 1 if state.last else 1
        with log_fields(tick=str(tick_number)):
            async with kept_lease(self.desk, self.symbol, self.owner):
                try:
                    readings = await self._read(await self._prepared(state), started_ms)
                except UnknownSymbol:
                    self.desk.markets.unlisted.add(self.symbol)
                    raise
                decision = decide(self._rules(), readings)
                await self._commit(decision)
                if decision.refusal is not None:
                    raise decision.refusal
                if decision.grid is None:
                    await share_pot(self.desk, "symbol left")
                    raise SymbolLeft(self.symbol)
                await self._cancel(decision)
                placed = Placed(refused=still_refused(decision.plan))
                groups = batches(decision.plan.place)
                for number, orders in enumerate(groups, start=1):
                    batch = await reserve_batch(self.desk, decision, orders, placed.refused)
                    self._checkpoint("reserved")
                    answers = await self.desk.exchange.place(requests(batch, self._valid_ms))
                    placed.intents += [intent for intent, _ in batch]
                    placed.answers += answers
                    self._checkpoint("sent")
                    if must_wait(answers):
                        put_off(decision, groups[number:])
                        break
                return await self._finish(decision, placed)

    async def end_lease(self) -> None:
        """Give the lease back, so that another worker can tick the symbol at once."""
        await store.end_lease(self.desk.redis, keys=self.desk.keys, symbol=self.symbol, owner=self.owner)

    def _rules(self) -> Rules:
        desk = self.desk
        changed = desk.markets.is_changed(self.market)
        return Rules(self.market, desk.settings, desk.keys, desk.allocator.even_share, changed)

    @property
    def _is_retiring(self) -> bool:
        return self.symbol not in self.desk.settings.symbols

    @property
    def _known_trades(self) -> SymbolTrades:
        return SymbolTrades(self.desk, self.symbol)

    @property
    def _valid_ms(self) -> int:
        """How long a request to place an order is good for, in ms."""
        return int(self.desk.settings.trading.request_valid_seconds * 1000)

    def _now(self) -> int:
        return self.desk.now_ms

    # --- read ------------------------------------------------------------------------------------------
    async def _begin(self, *, may_open: bool = True) -> SymbolState:
        state = await self._lease()
        if state.share.registered:
            return state
        if state.settings_version not in (0, self.desk.settings_version):
            await self.desk.follow_settings()
        if may_open and not self._is_retiring:  # a new symbol, or Redis was lost while a worker was running
            self.desk.forget()
            await open_books(self.desk, await self._all_markets(), self.owner)
            return await self._begin(may_open=False)
        await self.end_lease()
        if self._is_retiring:
            raise SymbolLeft(self.symbol)
        raise StateError(f"{self.symbol} has no share of the pot; start a worker with this symbol configured")

    async def _lease(self) -> SymbolState:
        """Take the lease; where Redis restarted or went back, compare the books with the exchange before that."""
        desk = self.desk
        take = partial(store.begin, desk.redis, keys=desk.keys, symbol=self.symbol, owner=self.owner)
        known = desk.fences.get(self.symbol, 0)
        try:
            state, wait_ms = await take(lease_ms=desk.lease_ms, known_fence=known)
        except RedisRestarted:
            await compare_books(desk)
            state, wait_ms = await take(lease_ms=desk.lease_ms, known_fence=known)
        if state is None:
            raise LeaseHeld(self.symbol, wait_ms)
        desk.fences[self.symbol] = state.fence
        desk.allocator.note_capital(state.capital)
        return state

    async def _all_markets(self) -> Mapping[str, Market]:
        return await listed_markets(self.desk.exchange, list(self.desk.settings.symbols))

    async def _prepared(self, state: SymbolState) -> SymbolState:
        """The state, after loading new settings in force and booking, from the exchange, what Redis has lost of it."""
        if state.settings_version not in (0, self.desk.settings_version):
            await self.desk.follow_settings()
        if state.grid is None and not self._is_retiring and await recover(self.desk, self.market, state):
            await share_pot(self.desk, "recovery", force=True)
            return await self._begin()
        if state.uncompared:
            await compare_listed_again(self.desk, self.market, state)
            return await self._begin()
        return state

    async def _read(self, state: SymbolState, started_ms: int) -> Readings:
        """Read the exchange. Open orders come first: an order that fills after that shows in the trades."""
        exchange, redis, keys = self.desk.exchange, self.desk.redis, self.desk.keys
        intents = list(state.intents.values())
        newest = max((intent.created_ms for intent in intents), default=0)
        open_orders, ticker = await exchange.orders_and_ticker(self.symbol, not_before_ms=newest)
        self._checkpoint("read")
        asked_ms = self._now()  # an order that is not found did not exist at this time, however long the answers take
        gathered = await gather_evidence(
            exchange,
            self.symbol,
            intents,
            open_orders,
            state.book.cursor_ms,
            self._known_trades,
            keys.account,
            self._valid_ms,
        )
        adopted = await adopt_orders(self.desk, self.market, state, open_orders, gathered)
        state, evidence = adopted.state, adopted.evidence
        pending = [fee.coin for fee in state.book.unvalued.values()]
        prices = await third_coin_prices(exchange, evidence, self.market, pending)
        self._checkpoint("evidence")
        slots: Mapping[str, int] = {}
        rules = self._rules()
        if needs_slots(rules, state, ticker, self._now()):
            slots = await store.order_slots(redis, keys=keys, symbol=self.symbol)
        volatility = await self._volatility(rules, state, ticker)
        free_base = await self._free_base() if needs_free_base(state, asked_ms) else None
        return Readings(
            started_ms,
            asked_ms,
            self._now(),
            state,
            open_orders,
            ticker,
            news(state.intents, evidence),
            prices,
            slots,
            free_base,
            volatility,
        )

    async def _volatility(self, rules: Rules, state: SymbolState, ticker: Ticker) -> Decimal | None:
        """The symbol's volatility by recent candles. Read only where a grid starts whose spacing depends on it."""
        if not needs_volatility(rules, state, ticker, self._now()):
            return None
        return recent_volatility(await self.desk.exchange.candles(self.symbol, None, WANTED + 1), self._now())

    async def _free_base(self) -> Decimal:
        """The base that is free on the exchange. Read only where a sell was refused for want of it."""
        held = (await self.desk.exchange.balances()).get(self.market.base)
        return held.free if held else ZERO

    # --- apply -----------------------------------------------------------------------------------------
    async def _commit(self, decision: Decision) -> None:
        """Book the fills and write the records that follow from them, in one script."""
        if decision.has_changes:
            code = await self.desk.allocator.record_trade(
                self.symbol,
                decision.readings.state.fence,
                fills=decision.moves,
                ended=[intent.client_id for intent in decision.folded.ended],
                writes=records_of(self._rules(), decision),
                charges=decision.charges,
            )
            check_code(code, self.symbol, decision.readings.state.fence, self.desk.keys.account)
            self._known_trades.note([fill.trade_id for fill in decision.folded.fills])
        self._checkpoint("recorded")
        self._log(decision)
        await report_corrections(self.desk, decision.corrected.fills)

    def _log(self, decision: Decision) -> None:
        state, symbol = decision.readings.state, self.symbol
        for fill in decision.folded.fills:
            if fill in decision.corrected.fills:
                continue
            facts = {"side": fill.side.value, "price": fill.price, "qty": fill.qty, "profit": fill.profit}
            log.info("fill booked", extra={"symbol": symbol} | {name: str(value) for name, value in facts.items()})
        if decision.is_new_grid and decision.grid is not None:
            grid = decision.grid
            for each in grid.each:
                about = {"symbol": symbol, "grid": each.grid_id, "cells": len(each.levels) - 1}
                log.info("grid set", extra=about | ({"grid_name": each.name} if each.name else {}))
        if decision.unfit and (state.last is None or state.last.unfit != decision.unfit):
            log.error("the grid only sells", extra={"symbol": symbol, "why": decision.unfit})
        if state.last is not None and state.last.limits_version != state.limits_version:
            self.on_allocation_updated(decision)

    def on_allocation_updated(self, decision: Decision) -> None:
        """The symbol's allocation may have changed. The plan already follows it; this logs what the plan does."""
        share = decision.readings.state.share
        facts = {
            "symbol": self.symbol,
            "allocated": str(from_units(share.allocated_units)),
            "used": str(from_units(share.used_units)),
            "replaced": len(decision.plan.resized),
            "waiting": decision.plan.to_resize,
        }
        log.info("allocation updated", extra=facts)

    async def _cancel(self, decision: Decision) -> None:
        await self.desk.exchange.cancel(self.symbol, decision.cancel)
        self._checkpoint("cancelled")

    async def _finish(self, decision: Decision, placed: Placed) -> TickReport:
        """Write the answers, delete empty cells of earlier grids and publish the report, in one script."""
        rules, fence = self._rules(), decision.readings.state.fence
        conclusion = conclude(rules, decision, placed.intents, placed.answers, placed.refused, self._now())
        report, records = conclusion.report, last_records(rules, conclusion)
        code, _ = await self.desk.allocator.release(self.symbol, fence, ids=conclusion.ended, writes=records)
        check_code(code, self.symbol, decision.readings.state.fence, self.desk.keys.account)
        self.desk.markets.planned(self.market)
        if filter_refused(placed.answers):
            self.desk.markets.read_soon()
        self._checkpoint("finished")
        if report.left:
            await share_pot(self.desk, "symbol left")
        return report
