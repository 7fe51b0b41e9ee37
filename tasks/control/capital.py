"""Money in and out: what an operator puts into the pot, and the profit that is taken out of it.

Nothing moves on a real exchange: the operator pays in before `invest`, and pays out after `withdraw_profit`. A paper
exchange is paid what is invested.
"""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import NamedTuple, TypeAlias
from uuid import uuid4

from tasks.base.clock import Clock, to_ms, utc_now
from tasks.base.errors import ConfigError, Problem, StateError
from tasks.base.keys import Keys
from tasks.base.money import MAX_QUOTE, ZERO, from_units, plain, units_down
from tasks.base.redis_client import RedisClient
from tasks.control.actions import Actor, recorded
from tasks.control.books import with_running_market
from tasks.exchange.models import Balance
from tasks.funds import store
from tasks.funds.allocator import GlobalFundAllocator
from tasks.funds.capital import CapitalMove
from tasks.funds.models import FundCode, FundsStatus
from tasks.ledger.store import realised_profit
from tasks.settings.in_force import InForce, in_force
from tasks.settings.model import Settings
from tasks.tick.exchange_factory import open_exchange
from tasks.tick.sharing import performance
from tasks.tick.trading_mode import claim_books, is_live

Account: TypeAlias = Callable[[], Awaitable[Mapping[str, Balance]]]  # reads the balances of a real account
_NOT_OPEN = "the pot is not open yet: start Gridflow with `gridflow up`, and try again"


class Moved(NamedTuple):
    """Money that was moved, and how the pot stands after it. Amounts in quote.

    `is_new`: it was moved now; else by an earlier call with the same id. `withdrawable`: realised profit that can still
    be withdrawn. `rebalance`: its outcome.
    """

    amount: Decimal
    is_new: bool
    invested: Decimal
    withdrawn: Decimal
    capital: Decimal
    pool: Decimal
    withdrawable: Decimal
    rebalance: str

    def as_json(self) -> dict[str, str | bool]:
        """The fields as JSON values; money as exact text."""
        return {name: plain(one) if isinstance(one, Decimal) else one for name, one in self._asdict().items()}


async def invest(
    redis: RedisClient,
    settings: Settings,
    amount: Decimal,
    *,
    by: Actor = Actor.CLI,
    once: str = "",
    clock: Clock = utc_now,
    account: Account | None = None,
) -> Moved:
    """Add `amount` quote to the money that the pot works with, and share the pot anew.

    `once`: id of the action; a second call with it moves nothing. `account`: of a caller that has an exchange already;
    None: the exchange of the settings is asked, where it is a real one. Raises ConfigError where the amount is not
    possible, or a real exchange does not hold it; StateError where the pot is not open or holds the books of another
    mode.
    """
    return await _move(redis, settings, CapitalMove.INVEST, amount, by, once, clock, account)


async def withdraw_profit(
    redis: RedisClient,
    settings: Settings,
    amount: Decimal,
    *,
    by: Actor = Actor.CLI,
    once: str = "",
    clock: Clock = utc_now,
    account: Account | None = None,
) -> Moved:
    """Take `amount` quote of realised profit out of the pot, so that the operator may move it; share the pot anew.

    `once`, `account`: see `invest`. Raises ConfigError where it is more than the realised profit that is not withdrawn
    yet, or more than the exchange holds free; StateError and ExchangeError as `invest` does.
    """
    return await _move(redis, settings, CapitalMove.WITHDRAW, amount, by, once, clock, account)


async def _move(
    redis: RedisClient,
    settings: Settings,
    kind: CapitalMove,
    amount: Decimal,
    by: Actor,
    once: str,
    clock: Clock,
    account: Account | None,
) -> Moved:
    action = "invest" if kind is CapitalMove.INVEST else "withdraw profit"
    work = partial(_moved, redis, settings, kind, amount, by, once, clock, account)
    return await recorded(
        redis,
        Keys(settings.account),
        by,
        action,
        (),
        work,
        lambda done: f"{plain(amount)}; rebalance: {done.rebalance}",
        once=once,
    )


async def _moved(
    redis: RedisClient,
    settings: Settings,
    kind: CapitalMove,
    amount: Decimal,
    by: Actor,
    once: str,
    clock: Clock,
    account: Account | None,
) -> Moved:
    _refuse_amount(amount)
    keys = Keys(settings.account)
    await claim_books(redis, keys, settings)
    found = await in_force(redis, settings, only_look=True)
    allocator = GlobalFundAllocator.from_settings(found.settings, redis, clock)
    status = await allocator.get_global_status_summary()
    if status.version == 0:
        raise StateError(_NOT_OPEN)
    bound = await _checked_bound(redis, found.settings, kind, amount, status, account)
    code, moved = await store.move_capital(
        redis,
        keys=keys,
        kind=kind,
        units=units_down(amount),
        bound_units=bound,
        once=once or uuid4().hex,
        actor=by.value,
        paper_quote="" if account or is_live(found.settings) else found.settings.quote,
    )
    if code is FundCode.CONFLICT:
        raise StateError(_NOT_OPEN)
    if code is FundCode.GLOBAL_LIMIT:  # somebody else moved money since the bound was read
        raise _refusal(amount, *_rule(kind, bound, moved.withdrawn_units, moved.invested_units))
    outcome = await _share(redis, found, allocator, kind, clock)
    status = await allocator.get_global_status_summary()
    capital = status.capital
    return Moved(
        amount=amount,
        is_new=code is FundCode.OK,
        invested=from_units(capital.invested_units),
        withdrawn=from_units(capital.withdrawn_units),
        capital=capital.put_in(found.settings.total_funds),
        pool=status.pool,
        withdrawable=from_units(capital.withdrawable_units(units_down(await realised_profit(redis, keys)))),
        rebalance=outcome,
    )


async def _share(
    redis: RedisClient, found: InForce, allocator: GlobalFundAllocator, kind: CapitalMove, clock: Clock
) -> str:
    """Share the pot by the money that is in it now; the outcome."""
    keys = Keys(found.settings.account)
    allocator.follow(found.settings, found.version)
    facts = await performance(redis, keys, list(found.settings.symbols), to_ms(clock()))
    report = await allocator.rebalance_if_needed(reason=kind.value, performance=facts, only_open=True)
    return report.outcome


async def _checked_bound(
    redis: RedisClient,
    settings: Settings,
    kind: CapitalMove,
    amount: Decimal,
    status: FundsStatus,
    account: Account | None,
) -> int:
    """The bound for `store.move_capital`. Raises ConfigError where pot or exchange do not allow the amount."""
    capital, units = status.capital, units_down(amount)
    read = account or partial(_balances, redis, settings)
    if kind is CapitalMove.INVEST:
        bound = units_down(MAX_QUOTE - settings.total_funds)
        if capital.invested_units - capital.withdrawn_units + units > bound:
            raise _refusal(amount, *_rule(kind, bound, capital.withdrawn_units, capital.invested_units))
        if account or is_live(settings):
            refuse_missing(amount, settings, status, await read())
        return bound
    bound = units_down(await realised_profit(redis, Keys(settings.account)))
    if units > capital.withdrawable_units(bound):
        raise _refusal(amount, *_rule(kind, bound, capital.withdrawn_units, capital.invested_units))
    held = (await read()).get(settings.quote)
    free = held.free if held else ZERO
    if amount > free:
        rule = f"more than the {plain(free)} {settings.quote} that the exchange holds free: the rest is in orders"
        raise _refusal(amount, rule, f"Give at most {plain(free)}, or pause or stop first to free it")
    return bound


def refuse_missing(amount: Decimal, settings: Settings, status: FundsStatus, balances: Mapping[str, Balance]) -> None:
    """Raise ConfigError where the account does not hold what the pot would promise with `amount` in it.

    As the quote guard counts: the pool less what is used, against what is free or locked by our own orders.
    """
    held = balances.get(settings.quote) or Balance(free=ZERO, locked=ZERO)
    account = held.free + min(held.locked, from_units(status.reserved_units))
    more = amount * settings.global_max_usage
    promised = from_units(status.pool_units - status.used_units) + more
    if account < promised:
        rule = f"the pot would promise {plain(promised)} {settings.quote}, and the exchange holds {plain(account)}"
        raise _refusal(amount, rule, "Pay it in at the exchange first, or give less")


async def _balances(redis: RedisClient, settings: Settings) -> Mapping[str, Balance]:
    exchange = await open_exchange(await with_running_market(redis, settings), redis, beat=False)
    try:
        return await exchange.balances()
    finally:
        await exchange.close()


def _refuse_amount(amount: Decimal) -> None:
    if not (amount.is_finite() and ZERO < amount <= MAX_QUOTE):
        raise _refusal(amount, f"must be above 0 and at most {plain(MAX_QUOTE)}", "Give an amount of quote like 500")
    if from_units(units_down(amount)) != amount:
        raise _refusal(amount, "must have at most 8 decimals", "Round it")


def _rule(kind: CapitalMove, bound: int, withdrawn: int, invested: int) -> tuple[str, str]:
    """The rule that a movement breaks, and the remedy."""
    if kind is CapitalMove.INVEST:
        left = plain(from_units(max(bound - invested + withdrawn, 0)))
        return f"total_funds and all that was invested may be {plain(MAX_QUOTE)}", f"Give at most {left}"
    left = plain(from_units(max(bound - withdrawn, 0)))
    realised, taken = plain(from_units(bound)), plain(from_units(withdrawn))
    rule = f"more than the realised profit that is not withdrawn yet: {left} ({realised} realised, {taken} withdrawn)"
    return rule, f"Give at most {left}" if bound > withdrawn else "Wait until rounds have closed with a profit"


def _refusal(amount: Decimal, rule: str, remedy: str) -> ConfigError:
    return ConfigError(
        [Problem("AMOUNT", plain(amount) if amount.is_finite() else str(amount), rule, remedy)], "the command"
    )
