"""Made-up fills for the history: whole rounds of many symbols over a span of time."""

import random
from collections.abc import Iterator
from decimal import Decimal

from tasks.exchange.models import Side
from tasks.ledger.models import Fill

CENT = Decimal("0.01")


def many_fills(count: int, symbols: list[str], start_ms: int, span_ms: int, seed: int = 1) -> Iterator[Fill]:
    """`count` fills in order of time, a buy and its sell in turn in each cell; every fourth sell is at a loss."""
    rng = random.Random(seed)
    held: dict[tuple[str, int], Fill] = {}
    for number in range(count):
        symbol, cell = rng.choice(symbols), rng.randrange(20)
        bought = held.pop((symbol, cell), None)
        side = Side.BUY if bought is None else Side.SELL
        price = Decimal(rng.randint(9_000, 11_000)) / 100
        qty = Decimal(rng.randint(1, 500)) / 1000 if bought is None else bought.qty
        fee = (price * qty / 1000).quantize(Decimal("1e-8"))
        basis = price * qty + fee if bought is None else bought.basis
        profit = Decimal(0) if bought is None else price * qty - fee - basis
        fill = Fill(
            trade_id=f"{number:08}",
            client_id=f"g{symbol[0]}{cell}-{number}",
            symbol=symbol,
            cell_key=f"abcde.{cell}",
            side=side,
            price=price,
            qty=qty,
            quote=price * qty,
            fee=fee,
            fee_currency="USDT",
            fee_quote=fee,
            maker=True,
            at_ms=start_ms + span_ms * number // count,
            basis=basis,
            profit=profit,
        )
        if bought is None:
            held[symbol, cell] = fill
        yield fill
