"""The pot in Redis: one typed function per script."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from tasks.base.events import EVENTS_CAP
from tasks.base.keys import RECORD_FORMAT, Keys
from tasks.base.money import from_units, units_down
from tasks.base.redis_client import RedisClient, script
from tasks.exchange.models import Grant
from tasks.funds.capital import Capital, CapitalMove
from tasks.funds.models import (
    FeeCharge,
    FillMove,
    FundCode,
    FundsStatus,
    LimitsChange,
    Repair,
    Reservation,
    Reserved,
    TraderAllocation,
    Write,
)
from tasks.funds.rules import TRIGGER_GAP_MS

MAX_BATCH = 1000  # items of one reserve call: the script unpacks them onto Lua's stack
_UNREGISTER = -1  # what set_limits.lua takes for "no allocation"
# What status.lua answers, in its order: after the digest of the inputs these numbers, then these of each symbol.
POT_FIELDS = (
    "pool_units",
    "used_units",
    "reserved_units",
    "version",
    "paused",
    "stopped",
    "short_units",
    "max_committed_units",
    "stepped_ms",
    "spread_fired",
    "invested_units",
    "withdrawn_units",
    "reinvested_units",
)
SHARE_FIELDS = (
    "registered",
    "allocated_units",
    "used_units",
    "reserved_units",
    "paused",
    "cap_units",
    "max_usage",
    "liquidate",
    "fired",
)
_PACKAGE = "tasks.funds"


def _book_keys(keys: Keys, symbol: str) -> list[str]:
    return [keys.funds, keys.funds_symbol(symbol), keys.fence(symbol), keys.reservations(symbol)]


@lru_cache(maxsize=4096)  # reserve is called most often
def _reserve_keys(keys: Keys, symbol: str) -> tuple[str, ...]:
    more = (keys.slots(symbol), keys.intents(symbol), keys.cells(symbol), keys.blocked_counts)
    return (*_book_keys(keys, symbol), *more, keys.server, keys.outbox)


def _encode_writes(writes: Sequence[Write], first_key: int) -> tuple[list[str], list[str | int]]:
    """Keys to append to KEYS, and the ARGV tail that names them by index."""
    index: dict[str, int] = {}
    texts: dict[int, str] = {}  # the same record may be written to two places
    argv: list[str | int] = [len(writes)]
    for write in writes:
        position = index.setdefault(write.key, first_key + len(index))
        text = texts.get(id(write.value)) or texts.setdefault(id(write.value), write.text)
        argv += [position, write.verb, write.field, text]
    return list(index), argv


async def reserve(
    client: RedisClient, *, keys: Keys, symbol: str, fence: int, now_ms: int, items: Sequence[Reservation]
) -> list[Reserved]:
    """Grant and journal a batch; one answer per item. Raises ValueError for no item or more than MAX_BATCH."""
    if not 1 <= len(items) <= MAX_BATCH:
        raise ValueError(f"a batch has 1 to {MAX_BATCH} items, not {len(items)}")
    argv: list[str | int] = [fence, symbol, now_ms, len(items)]
    for item in items:
        argv += [item.id, item.slot, item.sequence, item.units, item.intent, item.cell_key, item.cell]
    names = _reserve_keys(keys, symbol)
    codes = await script(client, _PACKAGE, "reserve")(keys=names, args=argv)
    return [_answer(FundCode(code), item, fence) for code, item in zip(codes, items, strict=True)]


async def adopt(client: RedisClient, *, keys: Keys, symbol: str, fence: int, items: Sequence[Reservation]) -> FundCode:
    """Journal orders that the exchange has already, and reserve what they can still cost, even past the limits."""
    names = [*_book_keys(keys, symbol), keys.slots(symbol), keys.intents(symbol), keys.cells(symbol), keys.server]
    argv: list[str | int] = [fence, len(items)]
    for item in items:
        argv += [item.id, item.slot, item.sequence, item.units, item.intent, item.cell_key, item.cell]
    return FundCode(await script(client, _PACKAGE, "adopt")(keys=names, args=argv))


def _answer(code: FundCode, item: Reservation, fence: int) -> Reserved:
    if code is not FundCode.OK:
        return Reserved(code=code)
    return Reserved(code=code, grant=Grant(client_id=item.id, units=item.units, fence=fence))


async def record(
    client: RedisClient,
    *,
    keys: Keys,
    symbol: str,
    fence: int,
    fills: Sequence[FillMove],
    ended: Sequence[str],
    writes: Sequence[Write],
    charges: Sequence[FeeCharge] = (),
) -> FundCode:
    """Book fills, release what ended orders still hold, queue fees, write the records; all or nothing."""
    names = [*_book_keys(keys, symbol), keys.seen(symbol)]
    argv: list[str | int] = [fence, len(fills)]
    for fill in fills:
        argv += [fill.trade_id, fill.at_ms, fill.reservation_id, fill.take_units, fill.used_delta]
    argv += [len(ended), *ended, len(charges)]
    for charge in charges:
        queue, share = keys.fee_queue(charge.payer), keys.funds_symbol(charge.payer)
        condition = (queue, charge.field) if charge.is_valued else (share, "allocated")
        names += [name for name in (queue, share) if name not in names]
        argv += [names.index(condition[0]) + 1, condition[1], names.index(queue) + 1, charge.field, charge.entry]
    more_keys, tail = _encode_writes(writes, len(names) + 1)
    return FundCode(await script(client, _PACKAGE, "record")(keys=[*names, *more_keys, keys.server], args=argv + tail))


async def release(
    client: RedisClient, *, keys: Keys, symbol: str, fence: int, ids: Sequence[str], writes: Sequence[Write] = ()
) -> tuple[FundCode, int]:
    """Release what the reservations hold, and write the records; (code, units released)."""
    names = _book_keys(keys, symbol)
    more_keys, tail = _encode_writes(writes, len(names) + 1)
    argv: list[str | int] = [fence, len(ids), *ids, *tail]
    code, given = await script(client, _PACKAGE, "release")(keys=[*names, *more_keys, keys.server], args=argv)
    return FundCode(code), int(given)


async def set_limits(
    client: RedisClient,
    *,
    keys: Keys,
    expected_version: int,
    pool_units: int,
    limits: Sequence[LimitsChange],
    unregister: Iterable[str],
    report: str,
    inputs: str,
    step_ms: int = 0,
    settings_version: int = 0,
    capital: Capital | None = None,
) -> tuple[FundCode, int]:
    """Write pool and allocations at once; (code, version in force).

    `inputs` names the operator's inputs they follow from; `step_ms`: the time of a scheduled dynamic step, else 0.
    `settings_version`: of the settings they follow from; refused once others are in force. 0: not known.
    `capital`: that the pool is a share of; refused once money was moved in or out since. None: left as it is.
    """
    moved = (capital.invested_units, capital.withdrawn_units, capital.reinvested_units) if capital else ("", "", "")
    names = [keys.funds, keys.funds_symbols, keys.counters, keys.events]
    names += [keys.symbols, keys.format, keys.settings]
    rows: list[tuple[str, int, int, int]] = [
        (one.symbol, one.allocated_units, one.cap_units, units_down(one.max_usage)) for one in limits
    ]
    rows += [(symbol, _UNREGISTER, 0, 0) for symbol in unregister]
    argv: list[str | int] = [
        expected_version,
        pool_units,
        report,
        EVENTS_CAP,
        inputs,
        step_ms,
        RECORD_FORMAT,
        settings_version,
        len(rows),
    ]
    for row in rows:
        names += [keys.funds_symbol(row[0]), keys.cells(row[0]), keys.intents(row[0]), keys.fence(row[0])]
        argv += row
    code, version = await script(client, _PACKAGE, "set_limits")(
        keys=[*names, keys.server, keys.compared, keys.outbox], args=[*argv, *moved]
    )
    return FundCode(code), int(version)


async def move_capital(
    client: RedisClient,
    *,
    keys: Keys,
    kind: CapitalMove,
    units: int,
    bound_units: int,
    once: str,
    actor: str,
    paper_quote: str = "",
) -> tuple[FundCode, Capital]:
    """Put `units` in or take them out, unless the bound forbids it; the code, and the movements so far.

    `bound_units`: of invested − withdrawn after an investment, of withdrawn after a withdrawal. `once`: id of the
    movement; a second call with it moves nothing. `paper_quote`: currency that an investment is paid in on the paper
    exchange, '' where trading is live.
    """
    names = [keys.funds, keys.outbox, keys.once, keys.paper("balances")]
    field = f"free:{paper_quote}" if paper_quote else ""
    args = [kind.value, units, bound_units, once, actor, field]
    code, invested, withdrawn = await script(client, _PACKAGE, "move_capital")(keys=names, args=args)
    return FundCode(code), Capital(invested_units=int(invested), withdrawn_units=int(withdrawn))


async def status(client: RedisClient, *, keys: Keys, symbols: Sequence[str]) -> FundsStatus:
    """One consistent reading of the pot and `symbols`."""
    names = [keys.funds, *(keys.funds_symbol(symbol) for symbol in symbols)]
    return parse_status(await script(client, _PACKAGE, "status")(keys=names, args=[]), symbols)


def parse_status(answer: Sequence[Any], symbols: Sequence[str]) -> FundsStatus:
    """The status script's array as a record."""
    inputs, *texts = answer
    numbers = iter(map(int, texts))
    pot = dict(zip(POT_FIELDS, islice(numbers, len(POT_FIELDS)), strict=True))
    shares = {}
    for symbol in symbols:
        share = dict(zip(SHARE_FIELDS, islice(numbers, len(SHARE_FIELDS)), strict=True))
        max_usage = from_units(share.pop("max_usage"))
        shares[symbol] = TraderAllocation.model_validate(share | {"symbol": symbol, "max_usage_pct": max_usage})
    return FundsStatus.model_validate(pot | {"inputs": str(inputs), "symbols": shares})


async def set_flag(client: RedisClient, *, hashes: Sequence[str], flag: str, value: bool) -> int:
    """Set or clear a flag (`paused`, `stopped`, `spread_fired`) on hashes; how many changed."""
    return int(await script(client, _PACKAGE, "set_flag")(keys=list(hashes), args=[flag, int(value), ""]))


async def set_operator_flag(
    client: RedisClient, *, keys: Keys, symbols: Sequence[str], flag: str, value: bool, once: str = ""
) -> int:
    """Set or clear an operator's flag on `symbols`, or on the pot where there are none; the history gets it too.

    `once`: id of the action. A second call with it changes nothing and returns -1.
    """
    names = [*(keys.funds_symbol(symbol) for symbol in symbols)] or [keys.funds]
    scopes = list(symbols) or [""]
    named = [*names, keys.outbox, *([keys.once] if once else [])]
    return int(await script(client, _PACKAGE, "set_flag")(keys=named, args=[flag, int(value), once, *scopes]))


async def all_symbols(client: RedisClient, *, keys: Keys) -> list[str]:
    """All symbols ever registered, those that left included, sorted."""
    return sorted(str(symbol) for symbol in await client.sunion([keys.symbols, keys.funds_symbols]))


async def hold(client: RedisClient, *, keys: Keys, owner: str, ms: int) -> int:
    """Keep the pot stopped for `ms` from now in the name of `owner` (0 ends it); how many holds are in force."""
    return int(await script(client, _PACKAGE, "hold")(keys=[keys.funds], args=[owner, ms]))


async def registered_symbols(client: RedisClient, *, keys: Keys) -> list[str]:
    """All registered symbols, sorted."""
    return sorted(str(symbol) for symbol in await client.smembers(keys.funds_symbols))


async def may_trigger(client: RedisClient, *, keys: Keys) -> bool:
    """Whether this worker may start a triggered rebalance now: true for one caller in ten minutes."""
    return bool(await client.set(keys.rebalance_lock, "1", nx=True, px=TRIGGER_GAP_MS))


async def guard(
    client: RedisClient, *, keys: Keys, short_units: int, promised_units: int, read: str, first: str
) -> tuple[int, int]:
    """Store what the quote guard found; units short now, and before. Unchanged where `read` is not the stored look.

    `read`, `first`: the first look (JSON, '' for none), as it was read before and as it is now.
    """
    names = [keys.funds, keys.quote_watch, keys.events, keys.outbox]
    args = [short_units, promised_units, read, first, EVENTS_CAP]
    now, before = await script(client, _PACKAGE, "guard")(keys=names, args=args)
    return int(now), int(before)


async def repair(client: RedisClient, *, keys: Keys, symbols: Sequence[Repair]) -> FundCode:
    """Set the money to what journal and cells add up to. CONFLICT where either has changed since it was read."""
    names = [keys.funds]
    argv: list[str | int] = [len(symbols)]
    for wanted in symbols:
        names += [
            keys.funds_symbol(wanted.symbol),
            keys.reservations(wanted.symbol),
            keys.cells(wanted.symbol),
            keys.intents(wanted.symbol),
        ]
        argv += [wanted.digest, wanted.used_units, len(wanted.reservations)]
        for order_id, units in wanted.reservations.items():
            argv += [order_id, units]
    return FundCode(await script(client, _PACKAGE, "repair")(keys=names, args=argv))
