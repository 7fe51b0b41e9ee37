"""A symbol's prices with the levels of its grid, open orders and fills on them. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal

from dashboard.charts.parts import BLUE, GREEN, GREY, RED, Spec, amount_axis, base, fill_marks, fill_text
from dashboard.present.numbers import exact
from dashboard.present.times import local, utc
from tasks.exchange.models import Side
from tasks.ledger.models import Fill
from tasks.views.grid import GridView
from tasks.views.price_bars import PriceBar

NEAR_LEVELS = 3  # levels beyond the prices that the near view shows


def candles(
    bars: Sequence[PriceBar], fills: Sequence[Fill], grid: GridView, *, digits: int, zone: tzinfo, whole_grid: bool
) -> Spec:
    """Candles and marks. `whole_grid`: all levels; else the prices and the levels next to them."""
    names = ["bar", "open", "close", "low", "high", "utc", "text"]
    rows = [_row(bar, digits, zone) for bar in bars]
    low, high = _range(bars, grid, whole_grid)
    return base(
        dataset={"dimensions": names, "source": rows},
        tooltip={"trigger": "item", "formatter": "<b>{@bar}</b><br/>{@utc}<br/>{@text}"},
        xAxis={
            "type": "category",
            "data": [row[0] for row in rows],
            "axisLabel": {"hideOverlap": True},
            "axisTick": {"show": False},
        },
        yAxis=amount_axis(
            min=low, max=high, splitLine={"show": False}, axisLabel={"showMinLabel": False, "showMaxLabel": False}
        ),
        grid={"left": 8, "right": 14 + 7 * (digits + 6), "top": 36, "bottom": 8, "containLabel": True},
        dataZoom=[{"type": "inside"}],
        series=[
            {
                "type": "candlestick",
                "name": "Price",
                "encode": {"x": "bar", "y": ["open", "close", "low", "high"]},
                "itemStyle": {"color": GREEN, "borderColor": GREEN, "color0": RED, "borderColor0": RED},
                "color": GREEN,
                "barMaxWidth": 14,
                "markLine": {
                    "silent": True,
                    "symbol": "none",
                    "animation": False,
                    "label": {"show": False},
                    "data": _lines(grid, low, high, digits),
                },
            },
            _marks("Buys", fills, Side.BUY, bars, digits, zone),
            _marks("Sells", fills, Side.SELL, bars, digits, zone),
        ],
    )


def _label(at_ms: int, zone: tzinfo) -> str:
    return local(at_ms, zone, "%d %b %H:%M")


def _row(bar: PriceBar, digits: int, zone: tzinfo) -> list[str | float]:
    prices = (bar.open, bar.close, bar.low, bar.high)
    shown = [exact(price, digits) for price in prices]
    text = f"open {shown[0]}, close {shown[1]}<br/>low {shown[2]}, high {shown[3]}"
    return [_label(bar.at_ms, zone), *map(float, prices), utc(bar.at_ms), text]


def _range(bars: Sequence[PriceBar], grid: GridView, whole_grid: bool) -> tuple[float, float]:
    """The lowest and highest price to show."""
    seen = [bar.low for bar in bars] + [bar.high for bar in bars] + ([grid.price] if grid.price else [])
    levels = list(grid.levels)
    if not seen and not levels:
        return 0.0, 1.0
    low, high = (min(seen), max(seen)) if seen else (levels[0], levels[-1])
    if whole_grid and levels:
        low, high = min(low, levels[0]), max(high, levels[-1])
    elif levels:
        below = [level for level in levels if level < low][-NEAR_LEVELS:]
        above = [level for level in levels if level > high][:NEAR_LEVELS]
        low, high = min([low, *below]), max([high, *above])
    edge = (high - low) / 40 or high / 100
    return float(low - edge), float(high + edge)


def _lines(grid: GridView, low: float, high: float, digits: int) -> list[Spec]:
    """A line for each level that is shown; those with an open order in its colour, the price in blue."""
    buys = {cell.buy_price for cell in grid.cells if cell.state == "BUYING"}
    sells = {cell.sell_price for cell in grid.cells if cell.state == "SELLING"}
    levels = sorted({*grid.levels, *buys, *sells})
    made = [_line(level, buys, sells, digits) for level in levels if low <= level <= high]
    if grid.price is not None:
        label = {"show": True, "formatter": exact(grid.price, digits), "position": "end", "color": BLUE}
        made.append(
            {"yAxis": float(grid.price), "lineStyle": {"color": BLUE, "width": 1.5, "type": "solid"}, "label": label}
        )
    return made


def _line(level: Decimal, buys: set[Decimal], sells: set[Decimal], digits: int) -> Spec:
    style: Spec = {"color": GREY, "width": 1, "type": "dotted", "opacity": 0.7}
    label: Spec = {"show": False}
    for which, colour, word in ((sells, RED, "▼ sell"), (buys, GREEN, "▲ buy")):
        if level in which:
            style = {"color": colour, "width": 1.2, "type": "dashed"}
            label = {"show": True, "formatter": f"{word} {exact(level, digits)}", "position": "insideStartTop"}
            label |= {"color": colour, "fontSize": 10}
    return {"yAxis": float(level), "lineStyle": style, "label": label}


def _marks(name: str, fills: Sequence[Fill], side: Side, bars: Sequence[PriceBar], digits: int, zone: tzinfo) -> Spec:
    """The fills of one side as triangles: up for buys, down for sells."""
    starts, points = [bar.at_ms for bar in bars], []
    for fill in fills:
        place = bisect_right(starts, fill.at_ms) - 1
        if fill.side is side and place >= 0:
            when = local(fill.at_ms, zone, "%d %b %H:%M:%S"), utc(fill.at_ms)
            points.append([place, float(fill.price), *when, fill_text(fill, digits)])
    return fill_marks(name, side, ["place", "price", "bar", "utc", "text"], points, 9)
