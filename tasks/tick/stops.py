"""A tick's stops, limits and guards: what the rules look at, and the records of a stop that fires. Pure."""

import json
from collections.abc import Sequence
from decimal import Decimal

from tasks.base.events import EventKind
from tasks.base.keys import Keys
from tasks.base.money import exact, from_units, plain
from tasks.base.outbox import RecordKind
from tasks.exchange.models import Ticker
from tasks.funds.models import FillMove, Write
from tasks.grid.models import Grid
from tasks.ledger.models import Book
from tasks.ledger.rules import worth
from tasks.market.models import Snapshot
from tasks.risk.models import RiskMarks, Seen, StopCode, Verdict
from tasks.risk.rules import assess
from tasks.settings.grids import SymbolSettings
from tasks.settings.model import TradingSettings
from tasks.tick.models import SymbolState
from tasks.tick.records import archived


def verdict_of(
    own: SymbolSettings,
    trading: TradingSettings,
    state: SymbolState,
    book: Book,
    grid: Grid,
    snapshot: Snapshot,
    moves: Sequence[FillMove],
    now_ms: int,
) -> Verdict:
    """What the symbol may do now. `book` and `moves`: after this tick's fills."""
    price, last = snapshot.price, state.last
    free = state.share.allocated_units - state.share.used_units - sum([move.used_delta for move in moves])
    fired = StopCode(state.share.fired)
    with exact():
        profit, inventory = worth(book, price)
        seen = Seen(
            price=price,
            bid=snapshot.ticker.bid,
            ask=snapshot.ask,
            first_price=grid.first_price,
            last_price=last.price if last else None,
            profit=profit,
            inventory=inventory,
            free=from_units(max(free, 0)),
            now_ms=now_ms,
            stale=is_stale(snapshot.ticker, trading, now_ms),
        )
        return assess(own, seen, last.marks if last else RiskMarks(), fired)


def is_stale(ticker: Ticker, trading: TradingSettings, now_ms: int) -> bool:
    """Whether the price is too old to act on."""
    return now_ms - ticker.at_ms > trading.stale_price_seconds * 1000


def stop_writes(verdict: Verdict, own: SymbolSettings, keys: Keys, symbol: str, price: Decimal) -> list[Write]:
    """The records of a stop that fires: its flag, whether to sell, both for the history, and the event."""
    if verdict.fires is StopCode.NONE:
        return []
    flags = {"fired": int(verdict.fires), "liquidate": int(own.stop_exit == "sell")}
    share = keys.funds_symbol(symbol)
    out = [Write(key=share, verb="HSET", field=name, value=str(number)) for name, number in flags.items()]
    out += [archived(keys, RecordKind.FLAG, f"{name}|{number}|{symbol}") for name, number in flags.items()]
    facts = {
        "symbol": symbol,
        "stop": verdict.fires.words,
        "why": verdict.marks.why,
        "exit": own.stop_exit,
        "price": plain(price),
        "resume": f"gridflow resume {symbol}",
    }
    kind, body = EventKind.STOP_FIRED.value, json.dumps(facts)
    out.append(Write(key=keys.events, verb="EVENT", field=kind, value=body))
    out.append(archived(keys, RecordKind.EVENT, f"{kind}|{body}"))
    return out
