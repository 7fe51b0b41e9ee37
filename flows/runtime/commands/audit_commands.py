"""`gridflow funds audit` and `gridflow recover`: check the books, repair them, rebuild them."""

import asyncio
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from flows.runtime.commands.connections import redis_client
from flows.runtime.commands.options import common_options, json_option
from flows.runtime.commands.symbol_commands import preview, return_command, write_off_command
from tasks.base.money import plain
from tasks.funds.models import FundCode
from tasks.ledger.audit import AuditReport
from tasks.settings.environment import override_environment
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.running import redis_url


@click.command()
@common_options
@json_option
@click.option("--accept", metavar="SYMBOL", help="Let a symbol trade that waits because its books do not agree.")
@click.option(
    "--trust",
    type=click.Choice(["exchange", "history"]),
    help="Let SYMBOLS trade whose history does not agree with the exchange: rebuilt from it, or as the history is.",
)
@click.argument("symbols", nargs=-1)
def recover(
    config: Path | None,
    state: Path | None,
    as_json: bool,
    accept: str | None,
    trust: str | None,
    symbols: tuple[str, ...],
) -> None:
    """Bring back books, reservations and positions that Redis has lost: from the history and from the exchange.

    Workers do the same before a symbol's first tick. Symbols that Redis still holds are not touched.
    """
    settings = load(config)
    if accept is not None:
        _accept(settings, state, accept, as_json)
        return
    if trust is not None:
        _trust(settings, state, trust, symbols, as_json)
        return
    if symbols:
        raise click.UsageError("SYMBOLS are named with --trust only")
    override_environment({"GRIDFLOW_REDIS_URL": redis_url(settings, state)})
    from flows.runtime.trading import TradingService
    from tasks.control.books import with_running_market

    async def read_market() -> Settings:
        async with redis_client(settings, state) as redis:
            return await with_running_market(redis, load(config))

    trading = TradingService(asyncio.run(read_market()), archives=False)
    try:
        rebuilt = trading.recover()
    finally:
        trading.close()
    if as_json:
        click.echo(json.dumps({"rebuilt": rebuilt}))
        return
    for symbol, done in rebuilt.items():
        click.echo(f"{symbol}: {'recovered' if done else 'nothing to recover'}")


def _accept(settings: Settings, state: Path | None, symbol: str, as_json: bool) -> None:
    from tasks.control import books

    async def work() -> None:
        async with redis_client(settings, state) as redis:
            await books.accept(redis, settings, symbol)

    asyncio.run(work())
    click.echo(json.dumps({"accepted": symbol}) if as_json else f"{symbol}: trades with the books as they are")


def _trust(settings: Settings, state: Path | None, source: str, symbols: tuple[str, ...], as_json: bool) -> None:
    from tasks.control import books

    async def work() -> tuple[str, ...]:
        async with redis_client(settings, state) as redis:
            return await books.trust(redis, await books.with_running_market(redis, settings), source, symbols)

    done = asyncio.run(work())
    how = "rebuilt from the exchange" if source == "exchange" else "trades with the books of the history"
    click.echo(json.dumps({"trusted": source, "symbols": done}) if as_json else f"{', '.join(done)}: {how}")


@click.group()
def funds() -> None:
    """Audit the pot, preview an order, write off what cannot be sold, take back in what was missing."""


funds.add_command(preview)
funds.add_command(write_off_command)
funds.add_command(return_command)


@funds.command(name="audit")
@common_options
@json_option
@click.option("--repair", is_flag=True, help="Correct the money in one step; workers go on trading.")
@click.option(
    "--exchange/--no-exchange", default=True, help="Compare with the exchange's open orders and balances too."
)
def audit_command(config: Path | None, state: Path | None, as_json: bool, repair: bool, exchange: bool) -> None:
    """Recompute committed money and show each difference with its cause. Exit code 1 while a difference is left."""
    from tasks.control import books  # imports the trading stages

    settings = load(config)

    async def work() -> tuple[AuditReport, AuditReport]:
        async with redis_client(settings, state) as redis:
            before = await books.audit(redis, settings, with_exchange=exchange)
            if not repair or not before.drift:
                return before, before
            if await books.repair(redis, settings) is FundCode.CONFLICT:
                click.echo(
                    "Nothing repaired: workers changed the books meanwhile. Try again, or pause first.",
                    err=True,
                )
            return before, await books.audit(redis, settings, with_exchange=exchange)

    before, after = asyncio.run(work())
    if as_json:
        shown = {"found": _rows(before), "left": _rows(after), "ok": not after.drift}
        click.echo(json.dumps(shown))
    else:
        show_audit(before, after, repair, settings.quote, exchange)
    if after.drift:
        raise SystemExit(1)


def _rows(report: AuditReport) -> list[dict[str, str]]:
    return [
        {
            "subject": one.subject,
            "cause": one.cause.name,
            "meaning": one.cause.value,
            "found": str(one.found),
            "expected": str(one.expected),
        }
        for one in report.differences
    ]


def show_audit(before: AuditReport, after: AuditReport, repair: bool, quote: str, exchange: bool) -> None:
    """What was compared, the errors with their amounts, and what was done. What is no error is told apart."""
    if before.drift:
        table = Table(title=f"Differences (amounts in {quote}, of a coin in the coin)", title_justify="left")
        for name in ("subject", "cause", "found", "expected"):
            table.add_column(name, justify="right" if name in ("found", "expected") else "left")
        for one in before.drift:
            table.add_row(one.subject, one.cause.value, plain(one.found), plain(one.expected))
        Console().print(table, highlight=False)
    else:
        with_what = "journal, cells and fills" + (", and the exchange's orders and balances" if exchange else "")
        click.echo(f"The pot is right. Compared: the money that is committed, with {with_what}.")
    for one in before.differences:
        if not one.is_drift:
            click.echo(f"No error: {one.subject}: {one.cause.value}.")
    if not before.drift:
        return
    if not repair:
        click.echo("Correct it with: gridflow funds audit --repair")
    elif not after.drift:
        click.echo(f"Repaired: {len(before.drift)} difference(s) corrected in one step.")
    else:
        click.echo(f"{len(after.drift)} difference(s) are left.")
