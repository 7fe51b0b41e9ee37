"""The charts of a report, as plotly figures. Decimals become floats here, for the eye only."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.backtest.report.contents import Contents
from tasks.base.errors import ConfigError, Problem
from tasks.exchange.models import Side

_MOST_LEVELS = 120  # drawn as lines; more would be a grey plane
_HEIGHT = 420
_BUY, _SELL, _HOLD = "#2a9d8f", "#e76f51", "#8d99ae"


def _figure(title: str, traces: Sequence[Any], y_title: str) -> Any:
    go = _plotly()
    figure = go.Figure(list(traces))
    legend = {"orientation": "h", "y": -0.15}
    figure.update_layout(title=title, height=_HEIGHT, yaxis_title=y_title, legend=legend, template="plotly_white")
    return figure


def _plotly() -> Any:
    try:
        from plotly import graph_objects
    except ImportError:
        problem = Problem("--report", "", "needs plotly", "Install gridflow[backtest]")
        raise ConfigError([problem], "this installation") from None
    return graph_objects


def _times(times: Sequence[int]) -> list[datetime]:
    return [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in times]


def figures(contents: Contents) -> list[Any]:
    """Equity, prices with levels and fills, drawdown, allocation."""
    return [
        equity(contents),
        *(price(contents, symbol) for symbol in contents.prices),
        drawdown(contents),
        allocation(contents),
    ]


def equity(contents: Contents) -> Any:
    """The account against buying and holding."""
    go, times = _plotly(), _times([point.at_ms for point in contents.curve])
    own = go.Scatter(x=times, y=[float(point.equity) for point in contents.curve], name="equity", line={"color": _BUY})
    held = go.Scatter(
        x=times, y=[float(worth) for worth in contents.hold], name="buy and hold", line={"color": _HOLD, "dash": "dot"}
    )
    return _figure("Equity", [own, held], "quote")


def price(contents: Contents, symbol: str) -> Any:
    """A symbol's price, the levels of its grid, its buys and sells."""
    go, points = _plotly(), contents.prices[symbol]
    line = go.Scatter(
        x=_times([at_ms for at_ms, _ in points]),
        y=[float(one) for _, one in points],
        name="price",
        line={"color": "#264653", "width": 1},
    )
    traces = [line]
    for side, color, mark in ((Side.BUY, _BUY, "triangle-up"), (Side.SELL, _SELL, "triangle-down")):
        fills = [fill for fill in contents.fills if fill.symbol == symbol and fill.side is side]
        traces.append(
            go.Scatter(
                x=_times([fill.at_ms for fill in fills]),
                y=[float(fill.price) for fill in fills],
                name=side.value,
                mode="markers",
                marker={"color": color, "symbol": mark, "size": 7},
            )
        )
    figure = _figure(symbol, traces, "quote per base")
    levels = contents.levels.get(symbol, ())
    for level in levels if len(levels) <= _MOST_LEVELS else ():
        figure.add_hline(y=float(level), line_width=0.5, line_color="#cccccc")
    return figure


def drawdown(contents: Contents) -> Any:
    """How far the equity is below its highest value so far, in percent."""
    go, highest, shares = _plotly(), 0.0, []
    for point in contents.curve:
        worth = float(point.equity)
        highest = max(highest, worth)
        shares.append((worth / highest - 1) * 100 if highest > 0 else 0.0)
    times = _times([point.at_ms for point in contents.curve])
    return _figure("Drawdown", [go.Scatter(x=times, y=shares, fill="tozeroy", line={"color": _SELL})], "%")


def allocation(contents: Contents) -> Any:
    """The worth of each symbol's base, as a share of the account, in percent; the rest is quote."""
    go, times = _plotly(), _times([point.at_ms for point in contents.curve])
    worths = [float(point.equity) for point in contents.curve]
    traces = []
    for symbol, held in contents.held.items():
        shares = [float(one) / worth * 100 if worth > 0 else 0.0 for one, worth in zip(held, worths, strict=True)]
        traces.append(go.Scatter(x=times, y=shares, name=symbol, stackgroup="one", line={"width": 0.5}))
    return _figure("In base", traces, "% of equity")
