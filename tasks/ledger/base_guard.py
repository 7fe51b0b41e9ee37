"""The base guard: does the account hold the base that the cells hold? Pure.

A single comparison proves nothing: a sell may have filled that no tick has booked yet. Base is missing only where two
comparisons find it, at least MIN_APART_MS apart, and every fill before the first one is booked by the second. What is
missing then is at most

    held now − bought in between − on the account at the first comparison,

because nothing but sells, fees and withdrawals makes less of the base. More on the account than in the cells is the
owner's own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from tasks.base.money import ZERO
from tasks.exchange.models import Balance, Frozen, NotNegative, Order, Positive, Side
from tasks.grid.models import Cell
from tasks.ledger.models import Book
from tasks.ledger.rules import total
from tasks.orders.models import Intent

MIN_APART_MS = 60_000
CLOCK_MARGIN_MS = 5_000  # between the clocks of two workers, with the age of a shared reading


class Holding(Frozen):
    """What the books say of one symbol. Amounts in base; `received`: by all buys so far.

    `sold`: the most quote that its sells can have brought so far. `sells`: what each journalled sell has not sold yet,
    by client id. `ticked_ms`: when its newest tick began. `doubtful_ms`: creation of its oldest order whose outcome is
    not known; None without one. `orders`: in its journal.
    """

    symbol: str
    held: Decimal = ZERO
    received: Decimal = ZERO
    sold: Decimal = ZERO
    sells: Mapping[str, Decimal] = Field(default_factory=dict)
    ticked_ms: int = 0
    doubtful_ms: int | None = None
    orders: int = 0
    fees: Decimal = ZERO  # paid in this base, and not taken from the cells yet
    fee_waits: bool = False  # there is such a fee

    @property
    def to_sell(self) -> Decimal:
        """What all its journalled sells have not sold yet."""
        return total(self.sells.values())


class Comparison(Frozen):
    """Cells and account at one moment. Amounts in base, `account`: free and locked. Books are read first."""

    at_ms: int
    held: Decimal
    received: Decimal
    account: Decimal

    @property
    def short(self) -> Decimal:
        """What the account holds less than the cells."""
        return max(self.held - self.account, ZERO)


class BaseWatch(Frozen):
    """The newest comparison of one coin. `since`: the first one that found what is short; None while enough is there.

    `reported`: it is no fill that was still to be booked.
    """

    coin: str
    newest: Comparison
    since: Comparison | None = None
    reported: bool = False

    @property
    def short(self) -> Decimal:
        """What the account holds less than the cells, once it is no fill that is still to be booked."""
        return self.newest.short if self.reported else ZERO


class Shortage(Frozen):
    """A coin of which the account holds less than the cells, beyond fills that are still to be booked."""

    coin: str
    held: Decimal
    account: Decimal


class CorrectionKind(StrEnum):
    """Whether base leaves the cells or comes back to them."""

    MISSING = "missing"
    RETURNED = "returned"


class BaseCorrection(Frozen):
    """Base that the next tick of a symbol takes out of its cells, or puts back into them; once, by its id.

    Of missing base, `account` and `received` are those of the comparison behind it, see `still_missing`.
    """

    id: str
    kind: CorrectionKind
    qty: Positive
    at_ms: int
    account: Decimal = ZERO
    received: NotNegative = ZERO

    def still_missing(self, held: Decimal, received: Decimal) -> Decimal:
        """What is missing of `held`, now that every fill up to the comparison is booked; at most `qty`."""
        return max(min(self.qty, held - (received - self.received) - self.account), ZERO)


class BaseEvent(StrEnum):
    """What became of a coin's comparison."""

    SHORT = "short"
    RESTORED = "restored"


class Verdict(NamedTuple):
    """The watch to store, what to tell, and the base that is missing."""

    watch: BaseWatch
    event: BaseEvent | None = None
    missing: Decimal = ZERO


def holding_of(
    symbol: str,
    cells: Iterable[Cell],
    intents: Sequence[Intent],
    book: Book,
    ticked_ms: int,
    *,
    fees: Sequence[Decimal] = (),
) -> Holding:
    """What these records say of the symbol's base. `ticked_ms`: when its newest tick began."""
    sells = {intent.client_id: intent.qty - intent.filled for intent in intents if intent.side is Side.SELL}
    doubtful = [intent.created_ms for intent in intents if intent.is_doubtful]
    return Holding(
        symbol=symbol,
        held=total(cell.qty for cell in cells),
        received=book.received,
        sold=(book.volume + book.cash + book.fees) / 2,
        sells=sells,
        ticked_ms=ticked_ms,
        doubtful_ms=min(doubtful, default=None),
        orders=len(intents),
        fees=total(fees),
        fee_waits=bool(fees),
    )


def coin_of(symbol: str) -> str:
    """The base of a symbol. An account has one quote currency, so no other symbol has the same base."""
    return symbol.partition("/")[0]


def shortages(
    holdings: Iterable[Holding], balances: Mapping[str, Balance], orders: Mapping[str, Sequence[Order] | None]
) -> tuple[Shortage, ...]:
    """The coins that are short by one reading of the exchange: books first, then balances, then open orders.

    What journalled sells no longer sell there was sold, and is still to be booked, like fees that wait. Symbols
    without `orders` are left out: they were not read.
    """
    found = []
    for own in holdings:
        resting = orders.get(own.symbol)
        if resting is None:
            continue
        left = {order.client_id: order.qty - order.filled for order in resting}
        unbooked = total(max(qty - left.get(name, ZERO), ZERO) for name, qty in own.sells.items())
        balance = balances.get(coin_of(own.symbol), Balance(free=ZERO, locked=ZERO))
        held, account = own.held - unbooked - own.fees, balance.free + balance.locked
        if held > account:
            found.append(Shortage(coin=coin_of(own.symbol), held=held, account=account))
    return tuple(found)


def confirmed(watches: Iterable[BaseWatch]) -> tuple[Shortage, ...]:
    """The coins that the guard has found short."""
    return tuple(
        Shortage(coin=one.coin, held=one.newest.held, account=one.newest.account) for one in watches if one.short
    )


def compare(
    coin: str,
    before: BaseWatch | None,
    own: Holding,
    account: Balance,
    account_symbols: Mapping[str, Holding],
    at_ms: int,
) -> Verdict:
    """Compare what a coin's cells hold with the account. `own`: of the symbol with that base, read before `account`.

    `account_symbols`: all that must have ticked in between.
    """
    now = Comparison(at_ms=at_ms, held=own.held, received=own.received, account=account.free + account.locked)
    known = BaseWatch(coin=coin, newest=now)
    if not now.short:
        return Verdict(known, BaseEvent.RESTORED if before and before.reported else None)
    since = before.since if before else None
    if since is None or own.received < since.received or at_ms < since.at_ms:
        return Verdict(known.model_copy(update={"since": now}))  # the first, or Redis was rebuilt in between
    reported = before is not None and before.reported
    known = known.model_copy(update={"since": since, "reported": reported})
    if at_ms - since.at_ms < MIN_APART_MS or not _has_ticked(own, since):
        return Verdict(known)
    lost = now.held - (now.received - since.received) - since.account
    if lost <= 0:  # a sell that was booked in between explains the first comparison, not the newest one
        return Verdict(known.model_copy(update={"since": now, "reported": False}), _restored(reported))
    event = None if reported else BaseEvent.SHORT
    known = known.model_copy(update={"reported": True})
    if _is_settled(own, account, account_symbols, since):
        return Verdict(known.model_copy(update={"since": now}), event, min(lost, now.short))
    return Verdict(known, event)


def must_have_ticked(holdings: Mapping[str, Holding], unlisted: Collection[str]) -> dict[str, Holding]:
    """The symbols whose fills may still be to be booked: all that ever ticked or have orders.

    `unlisted`: symbols that the exchange no longer lists; they cannot tick, and have no orders there.
    """
    return {symbol: one for symbol, one in holdings.items() if symbol not in unlisted and (one.ticked_ms or one.orders)}


def _restored(reported: bool) -> BaseEvent | None:
    return BaseEvent.RESTORED if reported else None


def _has_ticked(holding: Holding, since: Comparison) -> bool:
    """Whether a tick that began after the comparison has ended."""
    return holding.ticked_ms >= since.at_ms + CLOCK_MARGIN_MS


def _is_settled(own: Holding, account: Balance, account_symbols: Mapping[str, Holding], since: Comparison) -> bool:
    """Whether nothing that happened before the first comparison is still to be booked.

    Less locked on the account than our sells should lock: one of them ended, and no tick has seen it.
    """
    if own.fee_waits or account.locked < own.to_sell:
        return False
    doubts = (one.doubtful_ms for one in account_symbols.values() if one.doubtful_ms is not None)
    if any(created_ms <= since.at_ms + CLOCK_MARGIN_MS for created_ms in doubts):
        return False
    return all(_has_ticked(one, since) for one in account_symbols.values())
