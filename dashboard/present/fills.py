"""The Trades screen: results, profit by symbol, and pages of fills. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo

from dashboard.present.html import Column, Html, gain, html, moment, number, side, table, tile, tiles
from dashboard.present.numbers import digits_of, exact, money, percent, whole
from dashboard.present.times import age_text
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.views.result_models import ResultsView, SymbolResults

_FILLS = (
    Column("Time"),
    Column("Symbol"),
    Column("Side"),
    number("Price"),
    number("Amount", "in base"),
    number("Value", "price × amount, in quote"),
    number("Fee", "worth in quote at the fill"),
    number("Grid profit"),
    Column("Role", note="maker: the order rested in the book; taker: it filled at once"),
    Column("Order"),
)
_RESULTS = (
    Column("Time span (UTC)"),
    number("Fills"),
    number("Rounds"),
    number("Win rate", "rounds with a profit"),
    number("Grid profit"),
    number("Profit"),
    number("Fees"),
    number("Max drawdown", "largest fall of the equity from a peak"),
    number("Sharpe", "of daily returns, a year"),
    number("Grid APR", "grid profit a year, on the capital"),
    number("Total APR", "profit a year, on the capital"),
    number("Buy and hold", "what the same capital would have earned without trading"),
)
_SYMBOLS = (
    Column("Symbol"),
    number("Fills"),
    number("Rounds"),
    number("Win rate", "rounds with a profit"),
    number("Volume", "in quote"),
    number("Fees"),
    number("Grid profit"),
)


def fills_table(fills: Sequence[Fill], zone: tzinfo) -> Html:
    """A page of fills, newest first; prices and amounts with the digits of their symbol."""
    digits = _digits_by_symbol(fills)
    rows = [
        (
            moment(fill.at_ms, zone),
            fill.symbol,
            side(fill.side.value),
            exact(fill.price, digits[fill.symbol][0]),
            exact(fill.qty, digits[fill.symbol][1]),
            money(fill.quote),
            money(fill.fee_quote, 4),
            gain(fill.profit, digits=4) if fill.side is Side.SELL else "",
            "maker" if fill.maker else "taker",
            fill.client_id,
        )
        for fill in fills
    ]
    return table("Fills", _FILLS, rows, "No fills that these filters hold.", tall=True)


def _digits_by_symbol(fills: Iterable[Fill]) -> Mapping[str, tuple[int, int]]:
    """Symbol → the decimals of its prices and of its amounts."""
    groups: dict[str, list[Fill]] = {}
    for fill in fills:
        groups.setdefault(fill.symbol, []).append(fill)
    return {
        symbol: (digits_of(one.price for one in own), digits_of(one.qty for one in own))
        for symbol, own in groups.items()
    }


def results_table(found: Iterable[ResultsView]) -> Html:
    """One row a time span."""
    rows = [
        (
            one.name,
            whole(one.trades),
            whole(one.rounds),
            percent(one.win_rate),
            gain(one.grid_profit),
            "–" if one.total_pnl is None else gain(one.total_pnl),
            money(one.fees),
            html([percent(one.max_drawdown), f" ({money(one.max_drawdown_quote)})" if one.max_drawdown_quote else ""]),
            "–" if one.sharpe is None else money(one.sharpe),
            percent(one.grid_apr),
            percent(one.total_apr),
            percent(one.buy_and_hold),
        )
        for one in found
    ]
    return table("Results", _RESULTS, rows, "No results yet.")


def symbols_table(found: Iterable[SymbolResults]) -> Html:
    """One row a symbol, the highest profit first."""
    ordered = sorted(found, key=lambda one: (-one.profit, one.symbol))
    rows = [
        (
            one.symbol,
            whole(one.trades),
            whole(one.rounds),
            percent(one.win_rate),
            money(one.volume),
            money(one.fees),
            gain(one.profit),
        )
        for one in ordered
    ]
    return table("By symbol", _SYMBOLS, rows, "No trades in this span.", tall=True)


def span_tiles(found: ResultsView) -> Html:
    """The figures of what the filters hold."""
    held = "–" if found.average_held_ms is None else age_text(found.average_held_ms / 1000)
    factor = "–" if found.profit_factor is None else money(found.profit_factor)
    return tiles(
        [
            tile("Fills", whole(found.trades), f"{whole(found.buys)} buys, {whole(found.sells)} sells"),
            tile("Rounds", whole(found.rounds), f"win rate {percent(found.win_rate)}"),
            tile("Grid profit", gain(found.grid_profit), f"profit factor {factor}"),
            tile("Fees", money(found.fees), f"volume {money(found.volume)}"),
            tile("Held", held, "on average, from buy to sell"),
        ]
    )
