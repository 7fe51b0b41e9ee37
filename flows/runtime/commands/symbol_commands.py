"""`gridflow funds preview`, `funds write-off` and `liquidate`: questions and decisions about one symbol's money."""

import asyncio
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from flows.runtime.commands.answers import bounded, redis_client
from flows.runtime.commands.options import common_options, json_option, on_the_same_market, settings_in_force
from tasks.base.money import dec, plain
from tasks.base.redis_client import RedisClient
from tasks.settings.model import Settings


def _amount(_context: click.Context, _parameter: click.Parameter, text: str) -> Decimal:
    """A positive amount of quote. Raises BadParameter for anything else."""
    try:
        amount = dec(text)
    except (InvalidOperation, ValueError):
        raise click.BadParameter(f"{text!r} is not a number: give an amount of quote like 500") from None
    if amount <= 0:
        raise click.BadParameter(f"{text} is not above 0: give an amount of quote like 500")
    return amount


@click.command()
@common_options
@json_option
@click.argument("symbol")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("amount", callback=_amount)
def preview(config: Path | None, state: Path | None, as_json: bool, symbol: str, side: str, amount: Decimal) -> None:
    """Would the pot allow an order of AMOUNT quote (fee included) now, and why not? Binds nothing."""
    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> tuple[bool, str]:
        from tasks.control.steps import preview_order

        return await preview_order(redis, settings, symbol, side, amount)

    allowed, reason = bounded(work, settings, state)
    if as_json:
        click.echo(
            json.dumps({"symbol": symbol, "side": side, "amount": plain(amount), "allowed": allowed, "reason": reason})
        )
    else:
        click.echo(
            f"{side} {plain(amount)} {settings.quote} of {symbol}: {'allowed' if allowed else f'refused, {reason}'}"
        )
    if not allowed:
        raise SystemExit(1)


@click.command(name="write-off")
@common_options
@json_option
@click.argument("symbol")
@click.option("--yes", is_flag=True, help="Do not ask.")
def write_off_command(config: Path | None, state: Path | None, as_json: bool, symbol: str, yes: bool) -> None:
    """Book out at cost what SYMBOL holds and can no longer sell, for instance because it was delisted."""
    settings = settings_in_force(config, state)
    if not yes:
        click.confirm(f"Book out at cost everything that {symbol} holds? The cost becomes a loss", abort=True)
    done = asyncio.run(_write_off(settings, state, symbol))
    if as_json:
        click.echo(json.dumps({"symbol": symbol, "qty": plain(done.qty), "cost": plain(done.cost)}))
        return
    base = symbol.partition("/")[0]
    click.echo(
        f"{symbol}: {plain(done.qty)} {base} left the books; {plain(done.cost)} {settings.quote} are booked as a loss."
    )


async def _write_off(settings: Settings, state: Path | None, symbol: str) -> Any:
    from tasks.base.keys import Keys
    from tasks.funds.allocator import GlobalFundAllocator
    from tasks.settings.in_force import in_force
    from tasks.tick.desk import Desk
    from tasks.tick.exchange_factory import open_exchange
    from tasks.tick.trading_mode import claim_books
    from tasks.tick.write_off import write_off

    async with redis_client(settings, state) as redis:
        keys = Keys(settings.account)
        await claim_books(redis, keys, settings)
        found = await in_force(redis, await on_the_same_market(settings, redis))
        exchange = await open_exchange(found.settings, redis, beat=False)
        try:
            allocator = GlobalFundAllocator.from_settings(found.settings, redis)
            desk = Desk(found.settings, redis, exchange, allocator, keys)
            return await write_off(desk, symbol, f"write-off {uuid4().hex}")
        finally:
            await exchange.close()


@click.command()
@common_options
@click.argument("symbols", nargs=-1, required=True)
def liquidate(config: Path | None, state: Path | None, symbols: tuple[str, ...]) -> None:
    """Let SYMBOLS that left the settings sell what they hold at the market's price, instead of at their levels."""
    settings = settings_in_force(config, state)

    async def work(redis: RedisClient) -> int:
        from tasks.control.steps import sell_off
        from tasks.settings.in_force import in_force

        return await sell_off(redis, (await in_force(redis, settings, only_look=True)).settings, symbols)

    bounded(work, settings, state)
    click.echo(f"Selling at the market's price: {', '.join(symbols)}")
