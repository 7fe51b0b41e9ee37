"""What backtests came to: growth, falls from the peak, and prices with levels and fills. Pure."""

from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal

from dashboard.charts.parts import BLUE, COLOURS, GREY, Spec, amount_axis, base, fill_marks, fill_text
from dashboard.present.numbers import digits_of
from dashboard.present.times import iso, local, utc
from tasks.backtest.report.contents import Contents, PricePoints
from tasks.exchange.models import Side
from tasks.history.thinning import thinned
from tasks.ledger.models import Fill

_POINTS = 800  # of a line
_MARKS = 600  # fills of one side
_LEVELS = 120  # more would be a grey plane


def growth(runs: Sequence[tuple[str, Contents]]) -> Spec:
    """Change of the equity since the start, in percent, of each run; dotted: of buying and holding in the first."""
    lines = [
        _line(name, contents, [point.equity for point in contents.curve], colour)
        for (name, contents), colour in zip(runs, COLOURS, strict=False)
    ]
    _, first = runs[0]
    held = _line("Buy and hold", first, first.hold, GREY)
    return _percent_chart([*lines, {**held, "lineStyle": {"width": 1.5, "type": "dotted"}}])


def falls(runs: Sequence[tuple[str, Contents]]) -> Spec:
    """How far the equity of each run is below its highest value so far, in percent."""
    lines = []
    for (name, contents), colour in zip(runs, COLOURS, strict=False):
        highest, shares = Decimal(0), []
        for point in contents.curve:
            highest = max(highest, point.equity)
            shares.append(point.equity / highest if highest > 0 else Decimal(1))
        line = _line(name, contents, shares, colour, start=Decimal(1))
        lines.append({**line, "areaStyle": {"opacity": 0.15}})
    return _percent_chart(lines)


def in_base(runs: Sequence[tuple[str, Contents]]) -> Spec:
    """What of the equity is in base, in percent; the rest is quote."""
    lines = []
    for (name, contents), colour in zip(runs, COLOURS, strict=False):
        held = [sum(worths, Decimal(0)) for worths in zip(*contents.held.values(), strict=True)]
        shares = [
            1 + worth / point.equity if point.equity > 0 else Decimal(1)
            for worth, point in zip(held, contents.curve, strict=True)
        ]
        lines.append({**_line(name, contents, shares, colour, start=Decimal(1)), "step": "end"})
    return _percent_chart(lines)


def _percent_chart(lines: Sequence[Spec]) -> Spec:
    return base(
        tooltip={"trigger": "axis", "valueFormatter": "%.2f %%"},
        xAxis={"type": "time", "splitLine": {"show": False}},
        yAxis=amount_axis(axisLabel={"formatter": "{value} %"}),
        series=list(lines),
    )


def _line(
    name: str,
    contents: Contents,
    worths: Sequence[Decimal],
    colour: str,
    start: Decimal | None = None,
) -> Spec:
    """Worths at the points of the curve, as changes from `start` (else the first) in percent."""
    begin = worths[0] if start is None else start
    changes = [float(worth / begin - 1) * 100 if begin else 0.0 for worth in worths]
    points = [[iso(contents.curve[place].at_ms), round(changes[place], 4)] for place in thinned(changes, _POINTS)]
    return {
        "type": "line",
        "name": name,
        "color": colour,
        "showSymbol": False,
        "lineStyle": {"width": 2},
        "data": points,
    }


def prices(contents: Contents, symbol: str, zone: tzinfo) -> Spec:
    """Prices, the levels of the grid, and what was bought and sold."""
    points = contents.prices[symbol]
    kept = [points[place] for place in thinned([float(price) for _, price in points], _POINTS)]
    digits = digits_of(price for _, price in kept)
    levels = contents.levels.get(symbol, ())
    lines = [{"yAxis": float(level)} for level in levels] if len(levels) <= _LEVELS else []
    low, high = _range(points)
    return base(
        tooltip={"trigger": "item", "formatter": "<b>{@local}</b><br/>{@utc}<br/>{@text}"},
        xAxis={"type": "time", "splitLine": {"show": False}},
        yAxis=amount_axis(
            min=low, max=high, splitLine={"show": False}, axisLabel={"showMinLabel": False, "showMaxLabel": False}
        ),
        dataZoom=[{"type": "inside"}],
        series=[
            {
                "type": "line",
                "name": "Price",
                "color": BLUE,
                "showSymbol": False,
                "lineStyle": {"width": 1.2},
                "data": [[iso(at_ms), float(price)] for at_ms, price in kept],
                "markLine": {
                    "silent": True,
                    "symbol": "none",
                    "animation": False,
                    "label": {"show": False},
                    "lineStyle": {"color": GREY, "width": 1, "type": "dotted", "opacity": 0.7},
                    "data": [line for line in lines if low <= line["yAxis"] <= high],
                },
            },
            _marks("Buys", contents.fills, Side.BUY, symbol, digits, zone),
            _marks("Sells", contents.fills, Side.SELL, symbol, digits, zone),
        ],
    )


def drawn(contents: Contents) -> str:
    """A note where not every fill is drawn."""
    counts = [sum(fill.side is side for fill in contents.fills) for side in Side]
    if max(counts) <= _MARKS:
        return ""
    shown = sum(len(range(0, count, _step(count))) for count in counts)
    return f"{shown:,} of {sum(counts):,} fills are drawn, evenly chosen."


def _step(count: int) -> int:
    return max(-(-count // _MARKS), 1)


def _range(points: PricePoints) -> tuple[float, float]:
    seen = [float(price) for _, price in points]
    edge = (max(seen) - min(seen)) / 40 or max(seen) / 100
    return min(seen) - edge, max(seen) + edge


def _marks(name: str, fills: Sequence[Fill], side: Side, symbol: str, digits: int, zone: tzinfo) -> Spec:
    """The fills of one side as triangles: up for buys, down for sells."""
    own = [fill for fill in fills if fill.side is side and fill.symbol == symbol]
    data = [
        [
            iso(fill.at_ms),
            float(fill.price),
            local(fill.at_ms, zone, "%d %b %H:%M"),
            utc(fill.at_ms),
            fill_text(fill, digits),
        ]
        for fill in own[:: _step(len(own))]
    ]
    return fill_marks(name, side, ["time", "price", "local", "utc", "text"], data, 8)
