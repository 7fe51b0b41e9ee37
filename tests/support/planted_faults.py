"""The planted faults, each a text of the program and what stands there instead. See `tests.support.mutations`."""

from typing import NamedTuple


class Planted(NamedTuple):
    """A fault: in `file`, `before` becomes `after`."""

    name: str
    file: str
    before: str
    after: str


FAULTS = (
    Planted(
        "no fence check",
        "tasks/funds/_server.lua",
        "if (redis.call('GET', fence_key) or '0') ~= fence then return 5 end",
        "",
    ),
    Planted("journal skipped", "tasks/funds/reserve.lua", "  call('HSET', KEYS[6], unpack(journal))\n", ""),
    Planted("reservation released twice", "tasks/funds/_writes.lua", "  redis.call('HDEL', reservations, id)\n", ""),
    Planted(
        "a fill is booked twice",
        "tasks/funds/record.lua",
        "if fills > 0 and booked == fills then return 1 end\nif booked > 0 then return 7 end\n",
        "",
    ),
    Planted(
        "a fill is not noted as booked",
        "tasks/funds/record.lua",
        "  redis.call('ZADD', seen, ARGV[p + 1], ARGV[p])\n",
        "",
    ),
    Planted(
        "a fill takes nothing from its reservation",
        "tasks/funds/record.lua",
        "local take = math.min(want, left)",
        "local take = 0",
    ),
    Planted(
        "allocation not checked",
        "tasks/funds/reserve.lua",
        "  if committed + units > allocated then return 2 end\n",
        "",
    ),
    Planted("pool not checked", "tasks/funds/reserve.lua", "if short or total + units > pool then", "if short then"),
    Planted(
        "a stop is ignored",
        "tasks/grid/planner.py",
        "all_end = limits.stopped or limits.stop_fired or",
        "all_end = limits.stop_fired or",
    ),
    Planted(
        "a fired stop is ignored",
        "tasks/tick/limits.py",
        "        stop_fired=fired,\n",
        "        stop_fired=False,\n",
    ),
    Planted(
        "a fired stop is forgotten",
        "tasks/tick/stops.py",
        "for name, number in flags.items()]\n    out +=",
        "for name, number in ()]\n    out +=",
    ),
    Planted(
        "size ignored", "tasks/grid/resizing.py", "return abs(self.excess) > tolerance * self.wanted", "return False"
    ),
    Planted(
        "protection window off",
        "tasks/orders/rules.py",
        "if now_ms - intent.created_ms > protection_ms else",
        "if now_ms > 0 else",
    ),
    Planted(
        "an unknown outcome counts as a refusal",
        "tasks/tick/order_requests.py",
        "        elif isinstance(answer, Rejected):\n",
        "        elif not isinstance(answer, Accepted):\n            answer = Rejected("
        'client_id=intent.client_id, reason=RejectReason.OTHER, detail="")\n',
    ),
    Planted(
        "a cancelled order ends before its last trade is known",
        "tasks/orders/rules.py",
        "    if ended and complete:\n",
        "    if ended:\n",
    ),
    Planted(
        "trades are read from the newest booked one",
        "tasks/orders/rules.py",
        "    return min(first, max(cursor_ms, first - TRADE_REACH_MS)) - TRADE_OVERLAP_MS\n",
        "    return cursor_ms\n",
    ),
    Planted(
        "the retiring are forgotten",
        "tasks/tick/active_symbols.py",
        "    return sorted({*settings.symbols, *await registered_symbols(redis, keys=keys)})\n",
        "    return sorted(settings.symbols)\n",
    ),
    Planted(
        "dust dropped",
        "tasks/tick/grid_change.py",
        'getattr(cell, name) for name in ("qty", "basis", "earned")',
        'getattr(cell, name) for name in ("basis", "earned")',
    ),
    Planted(
        "cells of an earlier grid dropped",
        "tasks/tick/grid_change.py",
        "if not is_empty(cell) or (grid.has(cell) and key not in wanted)",
        "if cell.order_id is not None or (grid.has(cell) and key not in wanted)",
    ),
    Planted(
        "base fees not taken from the cell",
        "tasks/ledger/booking.py",
        "received, cost = trade.qty - fee.base,",
        "received, cost = trade.qty,",
    ),
    Planted(
        "settings in force not followed",
        "tasks/settings/in_force.py",
        "    return InForce(settings, version, differing)\n",
        "    return InForce(own, version, differing)\n",
    ),
    Planted("rollback check off", "tasks/tick/begin.lua", "then return {-1} end", "then local _ = 0 end"),
    Planted(
        "lost orders not taken over",
        "tasks/tick/lost_orders.py",
        "    return [pair for _, pair in sorted(found.items(), key=by_cell)]\n",
        "    return []\n",
    ),
    Planted(
        "lost orders that have filled are not looked up",
        "tasks/tick/lost_orders.py",
        "            found.setdefault(trade.exchange_id, trade)\n",
        "            pass\n",
    ),
    Planted(
        "forgotten symbols are not looked for",
        "tasks/tick/comparing.py",
        """\
    forgotten = sorted(own_symbols(orders, desk.keys.account) - set(symbols))
    await store.raise_fences(desk.redis, keys=desk.keys, symbols=forgotten, holder=holder)
    found = await _compare_each(desk, [*symbols, *forgotten], orders, holder)
    held = await forgotten_with_base(desk, {one.symbol for one in found})
    return [*found, *await _compare_each(desk, held, [], holder)]
""",
        """\
    return await _compare_each(desk, symbols, orders, holder)
""",
    ),
    Planted(
        "half an answer is read as an empty list",
        "tasks/exchange/venues/signed.py",
        "        if 200 <= code < 300 and not isinstance(answer, dict | list):\n",
        "        if code < 0 and not isinstance(answer, dict | list):\n",
    ),
    Planted(
        "a sell beyond its cell takes nothing from other cells",
        "tasks/tick/fold.py",
        "    if trade.side is Side.SELL and trade.qty > before.qty:\n",
        "    if trade.side is Side.SELL and trade.qty > before.qty + trade.qty:\n",
    ),
    Planted(
        "more orders than the exchange allows",
        "tasks/grid/planner.py",
        "for bound in (self.market.max_orders, own)",
        "for bound in (own,)",
    ),
    Planted(
        "orders rounded on their way",
        "tasks/exchange/market_list.py",
        "if not request.qty % market.lot_step and not request.price % market.tick_size:",
        "if market:",
    ),
    Planted(
        "markets never read again", "tasks/tick/markets.py", "        self._is_outdated = True\n", "        pass\n"
    ),
    Planted(
        "a buy that the price left stays",
        "tasks/grid/planner.py",
        "bool(buy.filled) and self._is_left_behind(cell)\n",
        "False\n",
    ),
    Planted(
        "a stop reports nothing",
        "tasks/tick/stopping.py",
        "    return StopReport(orders_open=tuple(orders),",
        "    return StopReport(orders_open=(),",
    ),
    Planted(
        "a used cycle is used again",
        "tasks/grid/cells.py",
        "        cycle=cell.cycle if bought and filled > 0 else cell.cycle + 1,",
        "        cycle=cell.cycle,",
    ),
    Planted(
        "a queued fee is taken at every tick",
        "tasks/tick/fees.py",
        "        folded.paid += [field] if field in queue else []\n",
        "",
    ),
    Planted(
        "fees of other symbols are not queued",
        "tasks/funds/record.lua",
        "  if redis.call('HEXISTS', KEYS[tonumber(ARGV[p])], ARGV[p + 1]) == 1 then\n",
        "  if false then\n",
    ),
    Planted(
        "cycles not raised after a rollback",
        "tasks/tick/lost_orders.py",
        "    return [*out, _hset(keys.slots(symbol), EVERY_SLOT, str(first - 1))]\n",
        "    return []\n",
    ),
    Planted(
        "amended orders keep their first amount",
        "tasks/orders/rules.py",
        "    if order is None or order.price <= 0 or (order.price == intent.price and order.qty == intent.qty):\n",
        "    if order is None or order.price > 0:\n",
    ),
    Planted(
        "a write-off leaves reservations",
        "tasks/tick/write_off.py",
        "ended=[intent.client_id for intent in folded.ended]",
        "ended=[]",
    ),
    Planted(
        "symbols leave with their money",
        "tasks/funds/rebalancing.py",
        "return share.symbol not in self.shares and share.committed_units == 0",
        "return share.symbol not in self.shares",
    ),
    Planted(
        "sold at the market unasked",
        "tasks/tick/limits.py",
        "liquidate=sells and (own is None or state.share.paused or fired),",
        "liquidate=own is None,",
    ),
    Planted("base guard off", "tasks/tick/monitor.py", "    await guard_base(desk, holdings, balances, at_ms)\n", ""),
    Planted(
        "a moved range forgets the cells that it carries",
        "tasks/tick/grid_change.py",
        "if not is_empty(cell) or (grid.has(cell) and key not in wanted)",
        "if grid.has(cell) or (not is_empty(cell) and cell.grid_id != grid.grid_id)",
    ),
    Planted(
        "cells share the money that carried cells hold",
        "tasks/grid/amounts.py",
        "allocated, used = from_units(limits.allocated), from_units(limits.used)",
        "allocated, used = from_units(limits.allocated), ZERO",
    ),
    Planted(
        "the centre of a grid is not in its id",
        "tasks/grid/levels.py",
        "    if settings.is_anchored and first_price is not None:\n",
        "    if settings.is_anchored and first_price is None:\n",
    ),
    Planted(
        "a grid that earns in base sells everything",
        "tasks/grid/cells.py",
        "    return min(max(min(enough, market.qty(cell.lot)), least), held)\n",
        "    return held\n",
    ),
    Planted(
        "a recoup frees its cost in proportion",
        "tasks/ledger/costs.py",
        "    return max(_share_of_lot(cell, sold), min(cell.basis, net))\n",
        "    return _share_of_lot(cell, sold)\n",
    ),
    Planted(
        "what was earned in base is left behind",
        "tasks/tick/grid_change.py",
        'getattr(cell, name) for name in ("qty", "basis", "earned")',
        'getattr(cell, name) for name in ("qty", "basis")',
    ),
    Planted(
        "withdrawn profit stays in the pool",
        "tasks/funds/capital.py",
        "total_funds + from_units(self.invested_units - self.withdrawn_units)",
        "total_funds + from_units(self.invested_units)",
    ),
    Planted(
        "cells of a symbol's other grids count as retired",
        "tasks/grid/models.py",
        "        for each in grid.each\n        for index, ends in zip(",
        "        for each in (grid,)\n        for index, ends in zip(",
    ),
    Planted(
        "each of several grids takes the whole allocation",
        "tasks/grid/sizing.py",
        "    return allocated * share, in_own + elsewhere * share\n",
        "    return allocated, in_own + elsewhere\n",
    ),
    Planted(
        "a grid without money asks the pot for that of others",
        "tasks/grid/planner.py",
        "if funded is None and units <= self.symbol_free:",
        "if funded is None and units < 0:",
    ),
    Planted(
        "every level counts as above the price",
        "tasks/grid/amounts.py",
        "    if cell.buy_price < ask:\n        return cell.buy_price",
        "    if cell.buy_price < 0:\n        return cell.buy_price",
    ),
)
