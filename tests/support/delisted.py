"""An exchange that no longer lists one symbol."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.base.errors import ExchangeError
from tasks.exchange.models import Market


class Delisted:
    """The exchange without one symbol."""

    def __init__(self, client: Any, symbol: str) -> None:
        self._client, self._symbol = client, symbol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def refuse(self, symbols: Sequence[str]) -> None:
        """Raise ExchangeError where the symbol is among those asked for."""
        if self._symbol in symbols:
            raise ExchangeError(f"the exchange does not list {self._symbol}")

    async def markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """See ExchangePort."""
        await self.refuse(symbols)
        found: Mapping[str, Market] = await self._client.markets(symbols)
        return found

    async def refreshed_markets(self, symbols: Sequence[str]) -> Mapping[str, Market]:
        """See ExchangePort."""
        listed = [symbol for symbol in symbols if symbol != self._symbol]
        found: Mapping[str, Market] = await self._client.refreshed_markets(listed)
        return found
