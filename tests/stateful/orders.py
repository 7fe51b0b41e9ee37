"""The state machine of the pot, second part: orders, fills and releases, also repeated and under old leases."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tasks.funds import store
from tasks.funds.models import FillMove, FundCode, Reservation, Write
from tests.stateful.base import KEYS, SYMBOLS, PotMachine, seldom, symbols
from tests.support.funds_model import Share

slots = st.integers(0, 4)
parts_held = st.sets(st.sampled_from(["lots", "buys", "sells", "cells"]), min_size=3)


class Orders(PotMachine):
    """Its rules: reserve, fill, sell, release."""

    @rule(
        symbol=symbols,
        orders=st.lists(st.tuples(slots, st.integers(0, 2), st.integers(0, 400)), min_size=1, max_size=6),
        stale=seldom,
    )
    def reserve(self, symbol: str, orders: list[tuple[int, int, int]], stale: bool) -> None:
        share = self.pot.shares[symbol]
        fence = share.fence - 1 if stale and share.fence else share.fence
        items = []
        for slot, step, units in orders:
            sequence = max(share.slots.get(str(slot), -1) + step, 0)
            name = f"{symbol}-{slot}-{sequence}"
            items.append(
                Reservation(
                    id=name,
                    slot=str(slot),
                    sequence=sequence,
                    units=units,
                    intent=name,
                    cell_key=str(slot),
                    cell=name,
                )
            )

        def attempt() -> None:
            expected = [self.expect(symbol, fence, item) for item in items]
            self.refused += sum(FundCode.ALREADY < code < FundCode.STALE_FENCE for code in expected)
            answers = self.run(
                store.reserve(self.redis, keys=KEYS, symbol=symbol, fence=fence, now_ms=self.now_ms, items=items)
            )
            assert [answer.code for answer in answers] == expected
            assert [answer.grant is not None for answer in answers] == [code is FundCode.OK for code in expected]
            if any(answer.grant and answer.grant.units for answer in answers):
                self.what_was_granted_fits(symbol)

        attempt()
        self.repeat = attempt

    def what_was_granted_fits(self, symbol: str) -> None:
        """Right after a grant, by the server's own numbers: within the pool and the allocation in force."""
        seen = self.status()
        assert seen.committed_units <= seen.pool_units
        assert seen.symbols[symbol].committed_units <= seen.symbols[symbol].allocated_units

    def expect(self, symbol: str, fence: int, item: Reservation) -> FundCode:
        pot, share = self.pot, self.pot.shares[symbol]
        if fence != share.fence:
            return FundCode.STALE_FENCE
        if share.registered and share.slots.get(item.slot, -1) >= item.sequence:
            return FundCode.ALREADY
        code = pot.judge(symbol, item.units)
        if code is FundCode.OK:
            share.slots[item.slot] = item.sequence
            share.reservations[item.id] = item.units
            share.intents.add(item.id)
            share.cells.add(item.cell_key)
            pot.max_committed = max(pot.max_committed, pot.committed) if item.units else pot.max_committed
        return code

    @rule(symbol=symbols, parts=st.integers(1, 4), fills=st.booleans(), fits=st.booleans())
    def take_what_is_free(self, symbol: str, parts: int, fills: bool, fits: bool) -> None:
        """A quarter to all of what the symbol may still commit, in one order, which may fill at once.

        `fits`: within what the pool could grant, too.
        """
        free = self.free(symbol)
        if fits:
            free = max(min(free, self.pot.pool - self.pot.committed), 0)
        self.buy(symbol, free * parts // 4, fills)

    def free(self, symbol: str) -> int:
        """What the symbol may still commit."""
        share = self.pot.shares[symbol]
        return max(share.allocated - share.committed, 0)

    def buy(self, symbol: str, units: int, fills: bool = True) -> None:
        """Reserve in one order; whatever is granted may fill at once."""
        share = self.pot.shares[symbol]
        self.reserve(symbol, [(5, 1, units)], stale=False)
        order = f"{symbol}-5-{share.slots.get('5', 0)}"
        if fills and share.reservations.get(order):
            self.run(self.filled_in_full(symbol, order))
            self.repeat = None

    def some_order(self, data: st.DataObject) -> tuple[str, str]:
        """A symbol and one of its reservations."""
        symbol = data.draw(st.sampled_from([name for name in SYMBOLS if self.pot.shares[name].reservations]))
        return symbol, data.draw(st.sampled_from(sorted(self.pot.shares[symbol].reservations)))

    @precondition(lambda self: any(share.reservations for share in self.pot.shares.values()))
    @rule(
        data=st.data(),
        part=st.integers(1, 100),
        more=st.sampled_from([0, 0, 0, 3]),
        stale=st.booleans(),
        ends=st.booleans(),
    )
    def fill_buy(self, data: st.DataObject, part: int, more: int, stale: bool, ends: bool) -> None:
        """`more`: units that it costs beyond what was reserved for it, as a fee in a third coin may."""
        symbol, order = self.some_order(data)
        share = self.pot.shares[symbol]
        take = share.reservations[order] * part // 100
        cost = take + more if more else data.draw(st.integers(0, take))
        fence = share.fence - 1 if stale and share.fence else share.fence
        move = self.move(order, take, cost)
        done: list[bool] = []

        def attempt() -> None:
            expected = FundCode.ALREADY if done else FundCode.OK
            if fence != share.fence:
                expected = FundCode.STALE_FENCE
            code = self.run(self.record(symbol, fence, [move], [order] if ends else []))
            assert code is expected
            if code is FundCode.OK:
                done.append(True)
                self.bought(share, order, take, cost, ends)

        attempt()
        self.repeat = attempt

    @precondition(lambda self: any(share.reservations for share in self.pot.shares.values()))
    @rule(data=st.data())
    def all_that_rests_fills(self, data: st.DataObject) -> None:
        """Also what no longer fits into the allocation: the fill is a fact."""
        symbol, _ = self.some_order(data)
        for order in sorted(self.pot.shares[symbol].reservations):
            self.run(self.filled_in_full(symbol, order))

    def bought(self, share: Share, order: str, take: int, cost: int, ends: bool) -> None:
        share.used += cost
        share.lots.append(cost)
        share.reservations[order] -= take
        if cost > take:
            self.pot.max_committed = max(self.pot.max_committed, self.pot.committed)
        if ends:
            del share.reservations[order]
            share.intents.discard(order)

    async def filled_in_full(self, symbol: str, order: str) -> None:
        share = self.pot.shares[symbol]
        units = share.reservations[order]
        code = await self.record(symbol, share.fence, [self.move(order, units, units)], [order])
        assert code is FundCode.OK
        self.bought(share, order, units, units, ends=True)

    @precondition(lambda self: any(share.lots for share in self.pot.shares.values()))
    @rule(data=st.data(), whole=st.booleans())
    def fill_sell(self, data: st.DataObject, whole: bool) -> None:
        symbol = data.draw(st.sampled_from([name for name in SYMBOLS if self.pot.shares[name].lots]))
        share = self.pot.shares[symbol]
        lot = data.draw(st.integers(0, len(share.lots) - 1))
        freed = share.lots[lot] if whole else data.draw(st.integers(0, share.lots[lot]))
        move = self.move("", 0, -freed)
        assert self.run(self.record(symbol, share.fence, [move], [])) is FundCode.OK
        self.sold(share, lot, freed)
        assert self.run(self.record(symbol, share.fence, [move], [])) is FundCode.ALREADY
        self.repeat = None

    def sold(self, share: Share, lot: int, freed: int) -> None:
        share.lots[lot] -= freed
        share.used -= freed
        if share.lots[lot] == 0:
            del share.lots[lot]

    def move(self, order: str, take: int, cost: int) -> FillMove:
        """A fill that nobody has booked yet."""
        self.counter += 1
        name = f"t{self.counter}"
        return FillMove(trade_id=name, at_ms=self.time_ms, reservation_id=order, take_units=take, used_delta=cost)

    async def record(self, symbol: str, fence: int, fills: list[FillMove], ended: list[str]) -> FundCode:
        writes = [Write(key=KEYS.book(symbol), verb="SET", value="{}")]
        writes += [Write(key=KEYS.intents(symbol), verb="HDEL", field=order) for order in ended]
        return await store.record(
            self.redis, keys=KEYS, symbol=symbol, fence=fence, fills=fills, ended=ended, writes=writes
        )

    @rule(symbol=symbols, booked=st.booleans())
    def half_a_batch_is_refused_whole(self, symbol: str, booked: bool) -> None:
        share = self.pot.shares[symbol]
        first, second = self.move("", 0, 0), self.move("", 0, 0)
        assert self.run(self.record(symbol, share.fence, [first], [])) is FundCode.OK
        expected = FundCode.CONFLICT if booked else FundCode.OK
        batch = [first, second] if booked else [second]
        assert self.run(self.record(symbol, share.fence, batch, [])) is expected

    @precondition(lambda self: any(share.reservations for share in self.pot.shares.values()))
    @rule(data=st.data(), stale=st.booleans())
    def release(self, data: st.DataObject, stale: bool) -> None:
        symbol, order = self.some_order(data)
        share = self.pot.shares[symbol]
        orders = [order, *data.draw(st.lists(st.sampled_from([*sorted(share.reservations), "nobody's"]), max_size=2))]
        fence = share.fence - 1 if stale and share.fence else share.fence

        def attempt() -> None:
            answer = self.give_back(symbol, fence, orders)
            if fence != share.fence:
                assert answer == (FundCode.STALE_FENCE, 0)
                return
            share.intents -= set(orders)
            assert answer == (FundCode.OK, sum(share.reservations.pop(order, 0) for order in orders))

        attempt()
        self.repeat = attempt

    def give_back(
        self, symbol: str, fence: int, orders: list[str], cells: list[str] | None = None
    ) -> tuple[FundCode, int]:
        writes = [Write(key=KEYS.intents(symbol), verb="HDEL", field=order) for order in orders]
        writes += [Write(key=KEYS.cells(symbol), verb="HDEL", field=cell) for cell in cells or []]
        return self.run(store.release(self.redis, keys=KEYS, symbol=symbol, fence=fence, ids=orders, writes=writes))

    @rule(symbol=symbols, what=parts_held)
    def wind_down(self, symbol: str, what: set[str]) -> None:
        """Sell all that is held, end the orders, drop the cells: a symbol that left goes when all of it is done."""
        share = self.pot.shares[symbol]
        if "lots" in what:
            self.sell_all(symbol)
        kinds = {order: "buys" if share.reservations.get(order) else "sells" for order in share.intents}
        orders = sorted(order for order, kind in kinds.items() if kind in what)
        cells = sorted(share.cells) if "cells" in what else []
        held = sum(share.reservations.pop(order, 0) for order in orders)
        assert self.give_back(symbol, share.fence, orders, cells) == (FundCode.OK, held)
        share.intents -= set(orders)
        share.cells -= set(cells)

    def sell_all(self, symbol: str) -> None:
        """In one sale."""
        share = self.pot.shares[symbol]
        if share.used:
            move = self.move("", 0, -share.used)
            assert self.run(self.record(symbol, share.fence, [move], [])) is FundCode.OK
            share.used, share.lots = 0, []
