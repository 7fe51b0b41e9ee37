"""`gridflow invest` and `gridflow withdraw-profit`: money that an operator puts into the pot or takes out of it."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import click

from flows.runtime.commands.connections import is_durable, note_durable, redis_client
from flows.runtime.commands.option_types import AmountCommand, positive_amount
from flows.runtime.commands.options import common_options, json_option, settings_in_force
from tasks.base.money import MAX_QUOTE, plain
from tasks.funds.capital import CapitalMove
from tasks.settings.model import Settings

_amount = positive_amount("give an amount of quote like 500", MAX_QUOTE)


@click.command(cls=AmountCommand)
@common_options
@json_option
@click.argument("amount", callback=_amount)
@click.option("--yes", is_flag=True, help="Do not ask.")
def invest(config: Path | None, state: Path | None, as_json: bool, amount: Decimal, yes: bool) -> None:
    """Let the pot work with AMOUNT more quote. Pay it in at the exchange first: this command moves nothing there.

    The pot is shared anew at once. A paper exchange is paid the amount.
    """
    settings = settings_in_force(config, state)
    _ask(yes, f"Let the pot work with {plain(amount)} {settings.quote} more?")
    _run(settings, state, as_json, amount, CapitalMove.INVEST)


@click.command(name="withdraw-profit", cls=AmountCommand)
@common_options
@json_option
@click.argument("amount", callback=_amount)
@click.option("--yes", is_flag=True, help="Do not ask.")
def withdraw_profit(config: Path | None, state: Path | None, as_json: bool, amount: Decimal, yes: bool) -> None:
    """Take AMOUNT of the realised profit out of the pot. Move it at the exchange yourself afterwards.

    Refused beyond the realised profit that is not withdrawn yet, and beyond what the exchange holds free.
    """
    settings = settings_in_force(config, state)
    _ask(yes, f"Take {plain(amount)} {settings.quote} of profit out of the pot?")
    _run(settings, state, as_json, amount, CapitalMove.WITHDRAW)


def _ask(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _run(settings: Settings, state: Path | None, as_json: bool, amount: Decimal, kind: CapitalMove) -> None:
    from tasks.control import capital  # imports the trading stages

    move = capital.invest if kind is CapitalMove.INVEST else capital.withdraw_profit

    async def work() -> tuple[capital.Moved, bool]:
        async with redis_client(settings, state) as redis:
            return await move(redis, settings, amount), await is_durable(redis, settings, state)

    done, durable = asyncio.run(work())
    note_durable(durable)
    if as_json:
        click.echo(json.dumps(done.as_json() | {"durable": durable}))
        return
    quote, what = settings.quote, "Invested" if kind is CapitalMove.INVEST else "Taken out of the pot"
    click.echo(f"{what}: {plain(amount)} {quote}. The pool is {plain(done.pool)} {quote} ({done.rebalance}).")
    click.echo(
        f"Invested {plain(done.invested)}, withdrawn {plain(done.withdrawn)} so far; "
        f"{plain(done.withdrawable)} of the realised profit can be withdrawn."
    )
