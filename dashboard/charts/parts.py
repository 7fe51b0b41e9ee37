"""What all charts share: colours that are told apart in light and dark, axes, tooltips. Pure."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from dashboard.present.numbers import exact, money
from tasks.exchange.models import Side
from tasks.ledger.models import Fill

Spec: TypeAlias = dict[str, Any]

# Okabe and Ito's palette, which colour-blind readers can distinguish; mid tones, seen on light and dark ground.
BLUE, ORANGE, GREY, GREEN, RED, PURPLE = "#0072b2", "#e69f00", "#8a94a0", "#159a6c", "#d55e00", "#cc79a7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56b4e9", RED, "#a68a00", "#6f7bd1")


def base(**more: Any) -> Spec:
    """A chart that does not move when its data are renewed."""
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"top": 0, "left": 0, "type": "scroll", "itemGap": 14},
        **more,
    }


def amount_axis(**more: Any) -> Spec:
    """A vertical axis of amounts that begins where the amounts do."""
    return {"type": "value", "scale": True, **more}


def tooltip(*lines: str) -> Spec:
    """What is shown of the moment under the pointer. `{@name}` stands for a column of the data."""
    return {"trigger": "axis", "formatter": "<br/>".join(lines)}


def fill_marks(name: str, side: Side, dimensions: Sequence[str], points: Sequence[Sequence[Any]], size: int) -> Spec:
    """Fills of one side as triangles: up for buys, down for sells. The first dimension is the place, one is `price`."""
    is_buy = side is Side.BUY
    colour = GREEN if is_buy else RED
    return {
        "type": "scatter",
        "name": name,
        "dimensions": list(dimensions),
        "data": list(points),
        "encode": {"x": dimensions[0], "y": "price"},
        "symbol": "triangle",
        "symbolRotate": 0 if is_buy else 180,
        "symbolSize": size,
        "color": colour,
        "itemStyle": {"color": colour, "borderColor": "#fff", "borderWidth": 0.6},
        "z": 5,
    }


def fill_text(fill: Fill, digits: int) -> str:
    """What the tooltip of a fill says."""
    return f"{fill.side.value} {exact(fill.price, digits)}, worth {money(fill.quote)}"
