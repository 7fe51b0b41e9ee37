"""Profit by day, and from the first day on. Pure."""

from collections.abc import Sequence

from dashboard.charts.parts import BLUE, GREEN, RED, Spec, amount_axis, base, tooltip
from dashboard.present.numbers import signed, whole
from tasks.views.result_models import DayView


def daily_profit(days: Sequence[DayView], quote: str) -> Spec:
    """Bars of each UTC day, and the line of all days up to it. Gains point up, losses down."""
    rows = [
        [
            one.day,
            float(one.profit),
            float(one.cumulative),
            signed(one.profit),
            signed(one.cumulative),
            whole(one.trades),
        ]
        for one in days
    ]
    bars = {
        "type": "bar",
        "name": "Grid profit of the day",
        "encode": {"x": "day", "y": "profit"},
        "barMaxWidth": 26,
        "itemStyle": {"color": GREEN},
        "color": GREEN,
    }
    losses = {"type": "piecewise", "show": False, "seriesIndex": 0, "dimension": 1}
    return base(
        dataset={"dimensions": ["day", "profit", "cumulative", "profit_text", "sum_text", "fills"], "source": rows},
        tooltip=tooltip(
            "<b>{@day} (UTC)</b>",
            f"Grid profit {{@profit_text}} {quote}",
            f"Since the first day {{@sum_text}} {quote}",
            "Fills {@fills}",
        ),
        xAxis={"type": "category", "axisLabel": {"hideOverlap": True}},
        yAxis=[
            amount_axis(scale=False),
            amount_axis(position="right", splitLine={"show": False}),
        ],
        visualMap={**losses, "pieces": [{"lt": 0, "color": RED}, {"gte": 0, "color": GREEN}]},
        series=[
            bars,
            {
                "type": "line",
                "name": "Sum",
                "color": BLUE,
                "yAxisIndex": 1,
                "showSymbol": len(rows) < 3,
                "encode": {"x": "day", "y": "cumulative"},
            },
        ],
    )
