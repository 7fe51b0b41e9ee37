"""Looks at the pot after every script that any worker runs: money is granted only inside the limits in force."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal

import redis

from tasks.base.keys import Keys
from tasks.base.money import ZERO, from_units, units_down

_POT = ("pool", "used", "reserved", "version", "adopted", "invested", "withdrawn", "reinvested")
_SHARE = ("allocated", "used", "reserved")


class PotWatch:
    """Call it after every script. `wrong`: what broke the rules, in order; `most_units`: the most ever committed.

    Between two calls there is one script of one worker, so a sum that grew has grown by a grant; by an order that was
    found on the exchange or a repair (`adopted`); or by a comparison with the exchange, which takes over what a
    restarted Redis has lost.
    """

    def __init__(self, socket: str, keys: Keys, symbols: Sequence[str]) -> None:
        self._client = redis.Redis(unix_socket_path=socket, decode_responses=True)
        self._keys, self._symbols = keys, tuple(symbols)
        self._is_comparing = self._may_grow = False
        self._reserved: dict[str, int] = dict.fromkeys(self._symbols, 0)
        self._version = self._adopted = 0
        self.wrong: list[str] = []
        self.most_pool = 0
        self.grants = 0

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def forget(self) -> None:
        """Redis restarted, perhaps with earlier data: take its sums as they are now."""
        self._client.connection_pool.disconnect()
        compared, rows = self._read()
        pot, *shares = rows
        self._is_comparing = compared
        self._reserved = {symbol: share[2] for symbol, share in zip(self._symbols, shares, strict=True)}
        self._version, self._adopted, self.most_pool = pot[3], pot[4], max(self.most_pool, pot[0])

    def _read(self) -> tuple[bool, list[list[int]]]:
        """Whether a comparison with the exchange runs, and the sums of the pot and of each symbol."""
        pipe = self._client.pipeline(transaction=False)
        pipe.exists(self._keys.comparison_lock)
        pipe.hmget(self._keys.funds, _POT)
        for symbol in self._symbols:
            pipe.hmget(self._keys.funds_symbol(symbol), _SHARE)
        comparing, *rows = pipe.execute()
        return bool(comparing), [[int(one or 0) for one in row] for row in rows]

    def __call__(self) -> None:
        """Look."""
        comparing, rows = self._read()
        pot, *shares = rows
        self._is_comparing, before = comparing, self._is_comparing
        self._may_grow = comparing or before
        self.wrong += self._against(pot, dict(zip(self._symbols, shares, strict=True)))
        self._reserved = {symbol: share[2] for symbol, share in zip(self._symbols, shares, strict=True)}
        if pot[3] != self._version:
            self.wrong += self._against_the_settings(pot[0], pot[5] - pot[6] + pot[7])
        self._version, self.most_pool = pot[3], max(self.most_pool, pot[0])

    def _against(self, pot: Sequence[int], shares: dict[str, list[int]]) -> Iterator[str]:
        pool, used, reserved, version, adopted = pot[:5]
        is_grant, self._adopted = adopted == self._adopted, adopted
        if used != sum(share[1] for share in shares.values()) or reserved != sum(share[2] for share in shares.values()):
            yield f"the pot's sums {used} {reserved} are not those of the symbols {shares}"
        for symbol, (allocated, own_used, own_reserved) in shares.items():
            if own_reserved <= self._reserved[symbol] or self._may_grow or not is_grant:
                continue
            self.grants += 1
            if own_used + own_reserved > allocated:
                yield f"{symbol}: granted {own_used + own_reserved} above its allocation of {allocated}"
            if used + reserved > pool:
                yield f"{symbol}: granted, and {used + reserved} is above the pool of {pool}"
        if version != self._version and sum(share[0] for share in shares.values()) > max(pool, used):
            yield f"allocations above a pool of {pool} with {used} used: {shares}"

    def _against_the_settings(self, pool: int, moved: int) -> Iterator[str]:
        """Limits have just been written: by the settings that are in force at this moment, where some are.

        `moved`: units invested and reinvested, less those withdrawn.
        """
        body = self._client.hget(self._keys.settings, "body")
        if body:
            said = json.loads(str(body))
            funds = max(Decimal(said["total_funds"]) + from_units(moved), ZERO)
            wanted = units_down(funds * Decimal(said["global_max_usage"]))
            if pool != wanted:
                yield f"a pool of {pool} is written, and the settings in force say {wanted}"
