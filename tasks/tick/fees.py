"""Fees that no cell of their own order pays: queued for the symbol whose coin they were paid in, and taken there. Pure.

A fee in BNB on BTC/USDT is booked there as worth in quote, and leaves the cells of BNB/USDT, if that is traded too.
The same holds for a fee in base that a sell's own cell cannot pay.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal

from tasks.base.money import ZERO, exact, floor_to
from tasks.exchange.models import Market, Side
from tasks.funds.models import FeeCharge, FillMove
from tasks.grid.cells import lightened
from tasks.ledger.booking import pay_fee, value_fee
from tasks.ledger.costs import BASIS_STEP
from tasks.ledger.models import QueuedFee
from tasks.ledger.rules import total
from tasks.orders.models import IntentState
from tasks.tick.fold import Folded
from tasks.tick.payers import Payer, in_sell, payers

REBUILT = "rebuilt"  # in place of a trade id
UNREAD_MS = 60_000  # a fill that paid a fee may be read so much later than the fee
_CANCELLABLE = (IntentState.OPEN, IntentState.PARTIAL)


def value_pending(folded: Folded, coin_prices: Mapping[str, Decimal]) -> None:
    """Book the worth of fees that had none when they were booked, where their coin has a price now.

    Changes `folded`.
    """
    if not folded.book.unvalued:
        return
    symbol = folded.book.symbol
    quote = symbol.split("/")[1]
    for trade_id, fee in sorted(folded.book.unvalued.items()):
        price = coin_prices.get(fee.coin)
        if price is None:
            continue
        with exact():
            worth = fee.amount * price
        folded.book = value_fee(folded.book, trade_id, worth)
        folded.valued.append(
            QueuedFee(
                payer=f"{fee.coin}/{quote}",
                source=symbol,
                trade_id=trade_id,
                amount=fee.amount,
                worth=worth,
                at_ms=fee.at_ms,
            )
        )


def pay_fees(folded: Folded, queue: Mapping[str, QueuedFee], market: Market | None, now_ms: int) -> None:
    """Take queued fees, and those that the symbol's own sells just left, from its cells, oldest first.

    Cells without an order pay first: remainders, then the highest sell price; then base that no open order sells.
    Where that is too little, the farthest sells are named in `folded.to_cancel`, and the fee waits for their end. Where
    all cells together hold too little, the fee waits while a buy may have a fill that was not read yet. Then they pay
    what they can; the rest stays a fee in a third coin. A fee whose worth is not known yet waits. `market`: None where
    the exchange no longer lists the symbol. Changes `folded`.
    """
    if not queue and not folded.fees:
        return
    symbol = folded.book.symbol
    own = {fee.field: fee for fee in folded.fees if fee.payer == symbol}
    folded.fees = [fee for fee in folded.fees if fee.payer != symbol]
    is_blocked, needed = False, ZERO  # by fees that wait; `needed`: base that sells lock
    for field, fee in sorted({**queue, **own}.items(), key=lambda item: (item[1].at_ms, item[0])):
        ready = payers(folded)
        free = sum((payer.free for payer in ready), ZERO)
        is_short = fee.amount > free + _locked(folded)
        must_wait = (
            fee.worth is None or is_blocked or (_may_grow(folded, fee, now_ms) if is_short else fee.amount > free)
        )
        if must_wait:
            is_blocked = is_blocked or fee.worth is not None
            needed += ZERO if fee.worth is None or is_short else fee.amount
            folded.fees += [fee] if field in own else []
            folded.fees_waiting += 1
            continue
        _pay(folded, fee, ready, market, now_ms)
        folded.paid += [field] if field in queue else []
    folded.to_cancel = list(_sells_to_cancel(folded, needed))


def charges(fees: Collection[QueuedFee], valued: Collection[QueuedFee] = ()) -> list[FeeCharge]:
    """The queue entries to write with the fills: new fees, and fees that have their worth now."""
    if not fees and not valued:
        return []
    pairs = [*((fee, False) for fee in fees), *((fee, True) for fee in valued)]
    return [
        FeeCharge(payer=fee.payer, field=fee.field, entry=fee.model_dump_json(), is_valued=is_valued)
        for fee, is_valued in pairs
    ]


def summed(fees: Iterable[QueuedFee], payer: str, source: str) -> QueuedFee | None:
    """All fees of `source` that `payer` pays as one entry of its queue: of a rebuild. None where there are none."""
    found = [fee for fee in fees if fee.payer == payer]
    if not found:
        return None
    return QueuedFee(
        payer=payer,
        source=source,
        trade_id=REBUILT,
        amount=total(fee.amount for fee in found),
        worth=total(fee.worth or ZERO for fee in found),
        at_ms=max(fee.at_ms for fee in found),
    )


def _may_grow(folded: Folded, fee: QueuedFee, now_ms: int) -> bool:
    """Whether the cells may hold more than the books say: a buy is in doubt, or it may have filled before the fee."""
    buys = [intent for intent in folded.intents.values() if intent.side is Side.BUY]
    return any(intent.is_doubtful for intent in buys) or (bool(buys) and now_ms - fee.at_ms < UNREAD_MS)


def _locked(folded: Folded) -> Decimal:
    return sum((in_sell(folded.intents, cell) for cell in folded.cells.values()), ZERO)


def _pay(folded: Folded, fee: QueuedFee, ready: list[Payer], market: Market | None, now_ms: int) -> None:
    """Take the fee, or what there is of it, from the payers in turn."""
    assert fee.worth is not None
    left, used_delta = fee.amount, 0
    worth_left = fee.worth
    for payer in ready:
        if left <= 0:
            break
        part = min(payer.free, left)
        worth = worth_left if part == left else _share(fee.worth, part, fee.amount)
        before = folded.cells[payer.key]
        folded.book, after = pay_fee(folded.book, before, part, worth)
        folded.cells[payer.key] = lightened(after, market) if market else after
        folded.touched.add(payer.key)
        used_delta += after.used_units - before.used_units
        with exact():
            left, worth_left = left - part, worth_left - worth
    name = f"fee:{fee.field}:{now_ms}"  # guards against a repeated call; the queue itself against a second tick
    move = FillMove(trade_id=name, at_ms=now_ms, reservation_id="", used_delta=used_delta)
    folded.moves.append(move)


def _share(worth: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The worth of a part of a fee, rounded down to 1e-8 quote."""
    with exact():
        return floor_to(worth * part / whole, BASIS_STEP)


def _sells_to_cancel(folded: Folded, needed: Decimal) -> Iterator[str]:
    """Client ids of the farthest sells whose base, with what is free, covers `needed`."""
    if not needed:
        return
    missing = needed - sum((payer.free for payer in payers(folded)), ZERO)
    for cell in sorted(folded.cells.values(), key=lambda one: (-one.sell_price, one.key)):
        intent = folded.intents.get(cell.order_id or "")
        if missing <= 0:
            return
        if intent is not None and intent.side is Side.SELL and intent.state in _CANCELLABLE:
            missing -= in_sell(folded.intents, cell)
            yield intent.client_id
