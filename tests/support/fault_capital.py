"""An operator of a fault run who puts money into the pot and takes profit out of it."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from redis.exceptions import RedisError

from tasks.base.errors import GridflowError
from tasks.base.money import ZERO, from_units, units_down
from tasks.control.capital import invest, withdraw_profit
from tasks.exchange.models import Balance
from tasks.funds.store import status as funds_status
from tasks.ledger.store import realised_profit
from tasks.settings.model import Settings
from tests.support.binance.desk import BinanceDesk
from tests.support.binance.engine import Engine
from tests.support.fault_swarm import Trouble

_INVESTED = ("50", "300.5", "1000")
_TRIES = 4


def with_reinvest(settings: Settings, rng: random.Random) -> Settings:
    """The settings; half of them let profit work in the pool."""
    return settings.model_copy(update={"reinvest": rng.random() < 0.5})


@dataclass
class CapitalDesk:
    """Moves money by the commands' own functions, and on the exchange as an operator does.

    `on_account`: what it paid in at the exchange, less what it paid out.
    """

    desk: BinanceDesk
    engine: Engine
    rng: random.Random
    done: Counter[str]
    on_account: Decimal = ZERO
    moved: dict[str, Decimal] = field(default_factory=lambda: {Trouble.INVESTED: ZERO, Trouble.TAKEN_OUT: ZERO})

    async def act(self) -> None:
        """Pay in and invest, or withdraw profit and pay it out. A call whose answer is lost is made again."""
        kind = self.rng.choice((Trouble.INVESTED, Trouble.TAKEN_OUT, Trouble.TAKEN_OUT))
        desk, quote = self.desk.desk, self.desk.desk.settings.quote
        once = f"{kind}-{self.rng.random()}"
        try:
            amount = await self._amount(kind)
        except RedisError:
            return
        if amount <= 0:
            return
        if kind is Trouble.INVESTED:
            self._pay(quote, amount)
        move = invest if kind is Trouble.INVESTED else withdraw_profit
        for _ in range(_TRIES):
            try:
                await move(desk.redis, desk.settings, amount, once=once, clock=desk.clock, account=self._account)
            except (RedisError, GridflowError):
                continue
            self.done[kind] += 1
            self.moved[kind] += amount
            if kind is Trouble.TAKEN_OUT and self.engine.free(quote) >= amount:
                self._pay(quote, -amount)
            return

    async def _amount(self, kind: Trouble) -> Decimal:
        """How much to move: profit that may be withdrawn, or one of a few amounts."""
        if kind is Trouble.INVESTED:
            return Decimal(self.rng.choice(_INVESTED))
        desk = self.desk.desk
        found = await funds_status(desk.redis, keys=desk.keys, symbols=())
        bound = found.capital.withdrawable_units(units_down(await realised_profit(desk.redis, desk.keys)))
        return from_units(bound * self.rng.randint(1, 4) // 4)

    def _pay(self, quote: str, amount: Decimal) -> None:
        self.engine.transfer(quote, amount)
        self.on_account += amount

    async def _account(self) -> Mapping[str, Balance]:
        quote = self.desk.desk.settings.quote
        free, locked = self.engine.balances().get(quote, (ZERO, ZERO))
        return {quote: Balance(free=free, locked=locked)}

    async def check(self, put_backs: int) -> None:
        """Raise AssertionError where the pot does not have what was moved, unless Redis lost some of it."""
        found = (await funds_status(self.desk.desk.redis, keys=self.desk.desk.keys, symbols=())).capital
        invested, withdrawn = from_units(found.invested_units), from_units(found.withdrawn_units)
        moved = self.moved[Trouble.INVESTED], self.moved[Trouble.TAKEN_OUT]
        assert put_backs or (invested, withdrawn) == moved, f"moved {moved}, and the pot has {invested}, {withdrawn}"
