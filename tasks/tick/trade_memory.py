"""Which trades need no look any more: those in the books, and those of orders that are not ours."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.exchange.models import Trade
from tasks.tick import store
from tasks.tick.desk import Desk

_KEPT = 20_000  # trades that a process remembers per symbol


@dataclass(frozen=True)
class SymbolTrades:
    """The trades of one symbol: what this process has seen already costs no look at Redis."""

    desk: Desk
    symbol: str

    async def unknown(self, trades: Sequence[Trade]) -> list[Trade]:
        """The trades that are neither in the books nor of an order noted as not ours."""
        seen = self._seen
        new = [trade for trade in trades if trade.trade_id not in seen]
        if not new:
            return []
        ids = [(trade.trade_id, trade.exchange_id) for trade in new]
        explained = await store.explained_trades(self.desk.redis, self.desk.keys, self.symbol, ids)
        self.note(explained)
        return [trade for trade in new if trade.trade_id not in explained]

    async def note_others(self, exchange_ids: Collection[str]) -> None:
        """Remember orders (exchange ids) that are not ours, in Redis, for all processes."""
        await store.note_others(self.desk.redis, self.desk.keys, self.symbol, exchange_ids, self.desk.now_ms)

    def note(self, trade_ids: Collection[str]) -> None:
        """Trades that are in the books, or not ours."""
        seen = self._seen
        seen.update(dict.fromkeys(trade_ids))
        for oldest in list(seen)[: max(len(seen) - _KEPT, 0)]:
            del seen[oldest]

    @property
    def _seen(self) -> dict[str, None]:
        return self.desk.explained.setdefault(self.symbol, {})
