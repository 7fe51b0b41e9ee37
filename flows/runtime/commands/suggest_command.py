"""`gridflow suggest`: a grid for a symbol from its candles, with reasons and its result on candles not seen."""

from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from rich.console import Console

from flows.runtime.commands.options import json_option
from tasks.backtest.candle_files import load_file, load_symbol
from tasks.backtest.output import as_json as json_text
from tasks.backtest.request import wrong_option
from tasks.backtest.suggest import Suggestion
from tasks.backtest.suggest import suggest as suggested
from tasks.base.money import plain
from tasks.settings.environment import state_dir
from tasks.settings.grids import KINDS
from tasks.settings.toml_text import symbol_table

_EXAMPLES = {"--quote": "1000", "--days": "30", "--maker-fee": "0.001"}


@click.command()
@click.argument("symbol")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Candle file (csv, csv.gz, parquet), or a folder of them.",
)
@click.option("--quote", default="1000", show_default=True, help="Money for the grid, in quote.")
@click.option("--days", default="30", show_default=True, help="For how many days the range should hold.")
@click.option("--maker-fee", default="0.001", show_default=True, help="Share of notional.")
@json_option
def suggest(symbol: str, data: Path, quote: str, days: str, maker_fee: str, as_json: bool) -> None:
    """Suggest a grid for SYMBOL from its candles: range, cells and kind, each with its reason.

    The grid is chosen from the older two thirds of the candles and then played over the newest third. Needs no stack
    and no settings file.
    """
    if "/" not in symbol:
        raise wrong_option("SYMBOL", symbol, "must be BASE/QUOTE", "Give for example BTC/USDT")
    candles = load_symbol(data, symbol, state_dir() / "candles") if data.is_dir() else load_file(data)
    found = suggested(
        symbol, candles, _number("--quote", quote), _number("--days", days), _number("--maker-fee", maker_fee, 0.1)
    )
    if as_json:
        click.echo(json_text(found.record()))
    else:
        _print(found)


def _number(option: str, text: str, below: float = 1e9) -> Decimal:
    """A number above 0. Raises ConfigError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if value.is_finite() and 0 < value < Decimal(str(below)):
        return value
    raise wrong_option(
        option, text, f"must be a number above 0 and below {below:g}", f"Give for example {_EXAMPLES[option]}"
    )


def _print(found: Suggestion) -> None:
    console, quote = Console(highlight=False), found.symbol.partition("/")[2]
    console.print(f"A grid for {found.symbol}, for {plain(found.days)} days. Copy it into gridflow.toml:\n")
    own = KINDS[found.grid["grid"]].model_validate(dict(found.grid))
    console.print(symbol_table(found.symbol, own), markup=False, end="")
    console.print("\nWhy:")
    for name, why in found.reasons.items():
        console.print(f"  {name}: {why}.")
    console.print(
        f"\nNet profit of a cell: {found.least_profit * 100:.2f} to {found.most_profit * 100:.2f} %. "
        f"Money: at least {found.least_investment:,} {quote} (below it cells are smaller than the exchange's smallest "
        f"order), at most {found.most_investment:,} {quote} (1 % of a day's turnover)."
    )
    played = found.tested
    console.print(
        f"\nOn the newest {found.tested_days:.1f} days, which the choice has not seen, {plain(found.money)} {quote} "
        f"would have made {played.equity - played.funds:,.2f} {quote}: {played.grid_profit:,.2f} grid profit and "
        f"{played.floating_pnl:,.2f} floating, from {played.buys} buys and {played.sells} sells. Buying at the start "
        f"and holding: {found.hold:,.2f} {quote}. The past is no promise."
    )
