"""`gridflow funds preview`, `funds write-off`, `funds return` and `liquidate`: one symbol's money."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import click

from flows.runtime.commands.connections import is_durable, note_durable, redis_client, run_with_redis
from flows.runtime.commands.option_types import AmountCommand, positive_amount
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from tasks.base.money import MAX_QUOTE, plain
from tasks.base.redis_client import RedisClient


@click.command(cls=AmountCommand)
@common_options
@json_option
@click.argument("symbol")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("amount", callback=positive_amount("give an amount of quote like 500", MAX_QUOTE))
def preview(config: Path | None, state: Path | None, as_json: bool, symbol: str, side: str, amount: Decimal) -> None:
    """Show whether the pot would fund an order of AMOUNT quote (fee included) now, and why not. Reserves nothing."""
    settings = settings_in_force(config, state)

    from tasks.control.steps import preview_order  # imports the trading stages

    allowed, reason = run_with_redis(
        lambda redis: preview_order(redis, settings, symbol, side, amount), settings, state
    )
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
    """Write off at cost what SYMBOL holds and can no longer sell, for instance because it was delisted."""
    settings = settings_in_force(config, state)
    if not yes:
        click.confirm(f"Write off at cost everything that {symbol} holds? The cost becomes a loss", abort=True)

    from tasks.control.books import WriteOff, write_off  # imports the trading stages

    async def work() -> WriteOff:
        async with redis_client(settings, state) as redis:
            return await write_off(redis, settings, symbol)

    done = asyncio.run(work())
    if as_json:
        click.echo(json.dumps({"symbol": symbol, "qty": plain(done.qty), "cost": plain(done.cost)}))
        return
    base = symbol.partition("/")[0]
    click.echo(
        f"{symbol}: {plain(done.qty)} {base} left the books; {plain(done.cost)} {settings.quote} are booked as a loss."
    )


@click.command(name="return", cls=AmountCommand)
@common_options
@json_option
@click.argument("symbol")
@click.argument("amount", callback=positive_amount("give an amount of the coin like 0.25"))
@click.option("--again", is_flag=True, help="Return the same amount again within ten minutes.")
def return_command(
    config: Path | None, state: Path | None, as_json: bool, symbol: str, amount: Decimal, again: bool
) -> None:
    """Take AMOUNT of the coin that left the account without a sell, and came back, into the cells of SYMBOL again.

    The symbol's next tick books it at its cost and sells it. Only what the books call missing can be returned: other
    coins on the account are your own.
    """
    settings = settings_in_force(config, state)

    from tasks.control.books import BaseReturn, return_base  # imports the trading stages

    async def work() -> BaseReturn:
        async with redis_client(settings, state) as redis:
            return await return_base(redis, settings, symbol, amount, again=again)

    done = asyncio.run(work())
    if as_json:
        shown = {"symbol": symbol, "qty": plain(done.qty), "cost": plain(done.cost), "booked": done.is_booked}
        click.echo(json.dumps(shown))
        return
    what = f"{symbol}: {plain(done.qty)} {symbol.partition('/')[0]}"
    if done.is_booked:
        click.echo(f"{what} is in the books again, at its cost of {plain(done.cost)} {settings.quote}.")
    else:
        click.echo(f"{what} is booked by the symbol's next tick. No tick came yet: does a worker run?")


@click.command()
@common_options
@json_option
@click.argument("symbols", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def liquidate(config: Path | None, state: Path | None, as_json: bool, symbols: tuple[str, ...], yes: bool) -> None:
    """Cancel the orders of SYMBOLS and sell what they hold at the market's price, at their next ticks.

    A symbol of the settings is paused as well: it buys nothing until `gridflow resume SYMBOL`.
    """
    settings = settings_in_force(config, state)

    from tasks.control.steps import refuse_unknown_symbols, sell_off  # imports the trading stages

    if not yes:
        run_with_redis(lambda redis: refuse_unknown_symbols(redis, settings, symbols), settings, state)
        click.confirm(f"Sell all that {', '.join(symbols)} holds at the market's price?", abort=True, err=True)

    async def work(redis: RedisClient) -> bool:
        await sell_off(redis, settings, symbols)
        return await is_durable(redis, settings, state)

    durable = run_with_redis(work, settings, state)
    note_durable(durable)
    shown = {"liquidating": list(symbols), "durable": durable}
    click.echo(json.dumps(shown) if as_json else f"Selling at the market's price: {', '.join(symbols)}")
