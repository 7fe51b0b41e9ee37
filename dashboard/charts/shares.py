"""How the pot is shared now, and how it was. Pure."""

from collections.abc import Sequence
from datetime import tzinfo

from dashboard.charts.parts import BLUE, COLOURS, GREY, ORANGE, Spec, base
from dashboard.present.times import local
from tasks.funds.models import RebalanceReport
from tasks.views.models import StatusView

_ROW_PIXELS, _AXES_PIXELS = 30, 84
_LINES = 8


def largest(view: StatusView, most: int) -> list[str]:
    """The symbols with the largest allocations."""
    ordered = sorted(view.symbols, key=lambda symbol: (-symbol.allocated, symbol.symbol))
    return [symbol.symbol for symbol in ordered[:most]]


def shares_height(symbols: int) -> int:
    """Pixels of `shares` for so many symbols."""
    return _AXES_PIXELS + _ROW_PIXELS * symbols


def shares(view: StatusView, symbols: Sequence[str]) -> Spec:
    """Used, reserved and free of the symbols, the first at the top."""
    known = {symbol.symbol: symbol for symbol in view.symbols}
    shown = [known[name] for name in reversed(symbols)]
    parts = (
        ("Used", BLUE, [float(one.used) for one in shown]),
        ("Reserved", ORANGE, [float(one.reserved) for one in shown]),
        ("Free", GREY, [float(one.free) for one in shown]),
    )
    return base(
        tooltip={"trigger": "axis", "axisPointer": {"type": "shadow"}, "valueFormatter": "%,.2f"},
        xAxis={"type": "value", "axisLabel": {"hideOverlap": True}},
        yAxis={"type": "category", "data": [one.symbol for one in shown], "axisTick": {"show": False}},
        series=[
            {"type": "bar", "name": name, "stack": "share", "color": colour, "data": amounts, "barMaxWidth": 18}
            for name, colour, amounts in parts
        ],
    )


def past_shares(reports: Sequence[RebalanceReport], view: StatusView, now_ms: int, zone: tzinfo) -> Spec:
    """The allocations after each rebalance (newest first), as steps up to now; those of the other symbols as one."""
    names = largest(view, _LINES)
    ordered = sorted(reports, key=lambda report: (report.at_ms, report.version))
    moments = [(one.at_ms, {change.symbol: change.after for change in one.changes}) for one in ordered]
    moments.append((now_ms, {symbol.symbol: symbol.allocated for symbol in view.symbols}))
    labels = [local(at_ms, zone, "%d %b %H:%M:%S") for at_ms, _ in moments]
    lines = {name: [float(found[name]) if name in found else None for _, found in moments] for name in names}
    if len(view.symbols) > _LINES:
        lines["others"] = [
            float(sum(amount for name, amount in found.items() if name not in names)) for _, found in moments
        ]
    return base(
        tooltip={"trigger": "axis", "valueFormatter": "%,.2f"},
        xAxis={"type": "category", "data": labels, "axisLabel": {"hideOverlap": True}},
        yAxis={"type": "value", "scale": True},
        series=[
            {"type": "line", "step": "end", "name": name, "data": amounts, "color": colour, "symbolSize": 5}
            for (name, amounts), colour in zip(lines.items(), [*COLOURS, GREY], strict=False)
        ],
    )
