"""The quote guard: does the account hold the quote that the pot promises? Pure.

A single look proves nothing: a buy may have filled that no tick has booked yet, so its cost has left the account and is
still promised. Quote is short only where two looks find it, every symbol has ticked in between, and no order that is
older than the first look is in doubt: every fill up to the first look is booked by the second. At least

    promised now − on the account at the first look − what sells brought in between

is short then, because only sells add to what is promised.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from tasks.base.money import units_up
from tasks.exchange.models import Frozen
from tasks.ledger.base_guard import CLOCK_MARGIN_MS, Holding
from tasks.ledger.rules import total


class QuoteLook(Frozen):
    """Pot and account at one moment, in units of 1e-8 quote. The pot is read first, then the books, then the account.

    `promised`: the pool less what is used. `held`: free, and locked by our own orders. `sold`: by symbol, the most
    quote that its sells can have brought so far.
    """

    at_ms: int
    pool: int
    promised: int
    held: int
    sold: Mapping[str, Decimal]

    @property
    def short(self) -> int:
        """What the account holds less than is promised."""
        return max(self.promised - self.held, 0)


class QuoteVerdict(NamedTuple):
    """The look to compare the next one with (None while enough is there), and the units that are short for certain."""

    first: QuoteLook | None
    short_units: int


def judge(
    before: QuoteLook | None, short_units: int, now: QuoteLook, account_symbols: Mapping[str, Holding]
) -> QuoteVerdict:
    """Compare two looks. `before`: the first one that found too little; `short_units`: what was short for certain then.

    `account_symbols`: all that must have ticked in between. A shortage stays until a look finds enough.
    """
    if not now.short:
        return QuoteVerdict(None, 0)
    if before is None or not _are_comparable(before, now):
        return QuoteVerdict(now, short_units)
    if not _is_settled(before, account_symbols):
        return QuoteVerdict(before, short_units)
    brought = total(sold - before.sold[symbol] for symbol, sold in now.sold.items())
    lost = now.promised - before.held - units_up(brought)
    return QuoteVerdict(now, min(lost, now.short) if lost > 0 else short_units)


def _are_comparable(before: QuoteLook, now: QuoteLook) -> bool:
    """Whether the pot and its symbols are the same, and nothing was rebuilt in between."""
    if before.pool != now.pool or before.at_ms > now.at_ms or set(before.sold) != set(now.sold):
        return False
    return all(sold >= before.sold[symbol] for symbol, sold in now.sold.items())


def _is_settled(before: QuoteLook, account_symbols: Mapping[str, Holding]) -> bool:
    """Whether every fill up to the look is booked."""
    since_ms = before.at_ms + CLOCK_MARGIN_MS
    return all(
        one.ticked_ms >= since_ms and (one.doubtful_ms is None or one.doubtful_ms > since_ms)
        for one in account_symbols.values()
    )
