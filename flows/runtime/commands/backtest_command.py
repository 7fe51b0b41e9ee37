"""`gridflow backtest`: the live decisions over candle files. Needs no stack and no exchange."""

import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from flows.runtime.commands.backtest_options import GRID_FIELDS, backtest_options, search_options
from flows.runtime.commands.options import json_option
from flows.runtime.commands.sweeping import run_sweep
from tasks.backtest.candle_files import load_file, load_symbol
from tasks.backtest.candles import CandleColumns
from tasks.backtest.engine import Engine
from tasks.backtest.fast_engine import fast_result
from tasks.backtest.output import as_json, summary, write_fills
from tasks.backtest.ranking import OBJECTIVES
from tasks.backtest.request import market_of, paper_markets, settings_of, wrong_option
from tasks.backtest.result import Result, result_of
from tasks.backtest.space import parse_parameter
from tasks.backtest.trial import Job
from tasks.base.money import plain
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.settings.model import Settings


@click.command()
@backtest_options
@click.option(
    "--trades", type=click.Path(path_type=Path, dir_okay=False), help="Write every fill to this csv, json or parquet."
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a report to this HTML file.")
@search_options
@click.option("--sweep", multiple=True, help="Try values of a setting: cells=10:40:5 or start=flat,balanced.")
@click.option("--sort", "objective", type=click.Choice(list(OBJECTIVES)), default="return", show_default=True)
@json_option
def backtest(
    trades: Path | None,
    report: Path | None,
    as_json: bool,
    sweep: tuple[str, ...],
    objective: str,
    **options: Any,
) -> None:
    """Play a grid, or all symbols of the settings, over candles.

    With --symbol and --cells, one symbol is played with the grid that the options describe; no settings file and no
    GRIDFLOW_ variable is read. Else the settings are played, with their symbols out of one pot. With --sweep, every
    combination of the values is played by the fast engine where it can, and the best ones again by the exact engine.
    """
    job = job_of(options, sweep)
    if sweep:
        run_sweep(job, [parse_parameter(text, "--sweep") for text in sweep], objective, options, as_json=as_json)
        return
    begun = time.perf_counter()
    result = run_engine(job, options["engine"])
    seconds = time.perf_counter() - begun
    if trades is not None:
        write_fills(trades, result.fills)
    if report is not None:
        _write_report(report, job)
    if as_json:
        print_json(result, seconds)
    else:
        print_tables(result, seconds)


def run_engine(job: Job, engine: str) -> Result:
    """Play a job. Raises ConfigError where the grid cannot start, or the fast engine cannot play it exactly."""
    if engine == "fast":
        return fast_result(job.settings, job.markets, job.candles)
    return result_of(Engine(job.settings, job.markets, job.candles).play())


def _write_report(path: Path, job: Job) -> None:
    from tasks.backtest.report.of_backtest import report_of
    from tasks.backtest.report.page import write_report  # imports plotly

    write_report(path, report_of(Engine(job.settings, job.markets, job.candles).play()))
    click.echo(f"Wrote {path}", err=True)


def job_of(options: Mapping[str, Any], searched: tuple[str, ...] = ()) -> Job:
    """Settings, markets and candles from the options. Raises ConfigError and MarketDataError.

    `searched`: the options of a search; a grid takes the first value of each, so that it is whole before the search.
    """
    given = {name: options[name] for name in GRID_FIELDS if options[name] is not None} | _more_fields(options["more"])
    if given and searched:
        parameters = [parse_parameter(text, "--sweep") for text in searched]
        given = {parameter.name: parameter.values[0] for parameter in parameters} | given
    return _one_grid(options, given) if given else _settings_job(options)


def _one_grid(options: Mapping[str, Any], grid: Mapping[str, str]) -> Job:
    symbols = options["symbols"]
    if len(symbols) != 1 or "/" not in symbols[0]:
        rule = "a grid on the command line needs one symbol such as BTC/USDT"
        raise wrong_option("--symbol", " ".join(symbols) or "(not given)", rule, "Give one --symbol BASE/QUOTE")
    if options["config"] is not None:
        rule = "cannot stand beside a grid on the command line"
        raise wrong_option("--config", str(options["config"]), rule, "Leave out --config, or the grid's options")
    symbol = symbols[0]
    settings = settings_of(
        symbol,
        options["quote"] or "10000",
        grid,
        maker_fee=options["maker_fee"] or "0.001",
        taker_fee=options["taker_fee"] or "0.001",
        fee_currency=options["fee_currency"] or "quote",
    )
    candles = _candles(options, [symbol])
    market = paper_markets(settings, candles)[symbol]
    if options["tick_size"] is not None or options["lot_step"] is not None:
        tick = _number("--tick-size", options["tick_size"] or "0.01")
        market = market_of(symbol, settings, tick, _number("--lot-step", options["lot_step"] or "0.00000001"))
    if options["min_notional"] is not None:
        least = _number("--min-notional", options["min_notional"])
        market = market.model_copy(update={"min_notional": least})
    markets = {symbol: market}
    return Job(settings, markets, candles)


def _settings_job(options: Mapping[str, Any]) -> Job:
    for name in ("tick_size", "lot_step", "min_notional", "maker_fee", "taker_fee", "fee_currency"):
        if options[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise wrong_option(
                flag, options[name], "belongs to a grid on the command line", "Set it in the settings file"
            )
    settings = load(options["config"])
    changes: dict[str, Any] = {}
    if options["quote"] is not None:
        changes["total_funds"] = _number("--quote", options["quote"])
    if options["symbols"]:
        unknown = [symbol for symbol in options["symbols"] if symbol not in settings.symbols]
        if unknown:
            known = ", ".join(settings.symbols)
            raise wrong_option(
                "--symbol", unknown[0], f"the settings have {known}", "Name one of these, or give a grid"
            )
        changes["symbols"] = {symbol: settings.symbols[symbol] for symbol in options["symbols"]}
    settings = Settings.model_validate(settings.model_copy(update=changes).model_dump()) if changes else settings
    options = {**options, "data": options["data"] or settings.paper.data}
    candles = _candles(options, list(settings.symbols))
    return Job(settings, paper_markets(settings, candles), candles)


def _candles(options: Mapping[str, Any], symbols: list[str]) -> dict[str, CandleColumns]:
    """The candles of each symbol, cut to --from and --to."""
    data, cache = options["data"], state_dir() / "candles"
    if data is None:
        raise wrong_option(
            "--data", "(not given)", "a backtest needs candles", "Give a candle file or a folder of them"
        )
    if not data.exists():
        raise wrong_option("--data", str(data), "no such file or folder", "Name candles that exist")
    if data.is_dir():
        found = {symbol: load_symbol(data, symbol, cache) for symbol in symbols}
    elif len(symbols) == 1:
        found = {symbols[0]: load_file(data, cache)}
    else:
        rule = f"is one file, but there are {len(symbols)} symbols"
        raise wrong_option("--data", str(data), rule, "Name a folder with a file for each, or one --symbol")
    first, end = options["since"], options["until"]
    if first is None and end is None:
        return found
    start_ms = int(first.timestamp() * 1000) if first else 0
    end_ms = int(end.timestamp() * 1000) if end else 2**62
    return {symbol: columns.between(start_ms, end_ms) for symbol, columns in found.items()}


def _more_fields(pairs: tuple[str, ...]) -> dict[str, str]:
    """The fields in `name=value` options."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise wrong_option("--set", pair, "must be name=value", "Name a field of a symbol's table in gridflow.toml")
        found[name.strip()] = value.strip()
    return found


def _number(option: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise wrong_option(option, text, "must be a number", "Give a number such as 0.01") from None
    if not number.is_finite() or number < 0:
        raise wrong_option(option, text, "must be a number from 0 up", "Give a number such as 0.01")
    return number


def print_json(result: Result, seconds: float) -> None:
    """One JSON object."""
    click.echo(as_json(summary(result) | {"engine_seconds": round(seconds, 6)}))


def print_tables(result: Result, seconds: float) -> None:
    """A table of the symbols, and the totals."""
    from rich.console import Console
    from rich.table import Table

    table = Table("symbol", "buys", "sells", "grid profit", "floating PnL", "fees", "base", title="Backtest")
    for one in result.symbols.values():
        amounts = (one.grid_profit, one.floating_pnl, one.fees)
        texts = [f"{amount:,.4f}" for amount in amounts]
        table.add_row(one.symbol, str(one.buys), str(one.sells), *texts, plain(one.base))
    Console().print(table)
    for one in result.symbols.values():
        if one.earned:
            base = one.symbol.partition("/")[0]
            click.echo(f"{one.symbol} earned in base: {plain(one.earned)} {base}, worth {one.earned * one.price:,.4f}")
    click.echo(f"quote {plain(result.quote)}   equity {result.equity:,.4f}   of {plain(result.funds)} at the start")
    if result.blocked:
        click.echo("Refused by the pot: " + ", ".join(f"{code} {count}" for code, count in result.blocked.items()))
    click.echo(f"{result.buys + result.sells} fills in {seconds:.3f} s ({result.engine} engine)")
