"""The equity curve. Pure."""

from collections.abc import Sequence
from datetime import tzinfo

from dashboard.charts.parts import BLUE, GREEN, Spec, amount_axis, base, tooltip
from dashboard.present.numbers import money
from dashboard.present.times import iso, local, utc
from tasks.views.line_models import EquityPoint


def equity_curve(points: Sequence[EquityPoint], quote: str, zone: tzinfo) -> Spec:
    """Equity, and the funds with the grid profit on top, which does not move with the price.

    The axis is in the browser's zone, the tooltip names the viewer's time and UTC.
    """
    rows = [
        [
            iso(one.at_ms),
            float(one.equity),
            float(one.capital + one.grid_profit) if one.capital else None,
            local(one.at_ms, zone, "%Y-%m-%d %H:%M"),
            utc(one.at_ms),
            money(one.equity),
            money(one.grid_profit),
        ]
        for one in points
    ]
    names = ["time", "equity", "with_grid", "local", "utc", "equity_text", "grid_text"]
    line = {"type": "line", "showSymbol": False, "lineStyle": {"width": 2}}
    return base(
        dataset={"dimensions": names, "source": rows},
        tooltip=tooltip(
            "<b>{@local}</b>", "{@utc}", f"Equity {{@equity_text}} {quote}", f"Grid profit {{@grid_text}} {quote}"
        ),
        xAxis={"type": "time", "splitLine": {"show": False}},
        yAxis=amount_axis(),
        series=[
            {**line, "name": "Equity", "color": BLUE, "encode": {"x": "time", "y": "equity"}},
            {
                **line,
                "name": "Funds + grid profit",
                "color": GREEN,
                "lineStyle": {"width": 1.5, "type": "dashed"},
                "encode": {"x": "time", "y": "with_grid"},
            },
        ],
    )
