"""Chart specifications in Vega-Lite's own words, drawn by Streamlit's bundled copy of it."""

from typing import Any

# Okabe and Ito's palette, which colour-blind readers can distinguish.
_USED, _RESERVED, _FREE = "#0072b2", "#e69f00", "#9aa5b1"
_AXES_PIXELS, _BAR_PIXELS = 110, 34
_TWO_DAYS_MS = 2 * 86_400_000
_MANY_POINTS = 200


def equity_curve(quote: str, span_ms: int, points: int) -> dict[str, Any]:
    """Equity over `span_ms`; the data has `points` rows of `time`, `equity` and `grid`."""
    dots: Any = {"size": 12} if points < _MANY_POINTS else False
    axis = {"format": "%H:%M" if span_ms < _TWO_DAYS_MS else "%d %b", "labelOverlap": True, "tickCount": 12}
    moment = {"field": "time", "type": "temporal", "scale": {"type": "utc"}}
    amount = {
        "field": "equity",
        "type": "quantitative",
        "title": f"Equity, {quote}",
        "scale": {"zero": False, "nice": True},
        "axis": {"format": ",.2f"},
    }
    tooltip = [
        {"field": "time", "type": "temporal", "title": "UTC", "format": "%Y-%m-%d %H:%M:%S"},
        {"field": "equity", "type": "quantitative", "title": "Equity", "format": ",.2f"},
        {"field": "grid", "type": "quantitative", "title": "Grid profit", "format": ",.2f"},
    ]
    return {
        "height": 240,
        "mark": {"type": "line", "point": dots, "strokeWidth": 2, "color": _USED},
        "encoding": {"x": {**moment, "title": "UTC", "axis": axis}, "y": amount, "tooltip": tooltip},
    }


def shares(quote: str, symbols: int) -> dict[str, Any]:
    """Used, reserved and free stacked for each symbol; the data has `symbol`, `part`, `amount`, `order`."""
    parts = {"domain": ["used", "reserved", "free"], "range": [_USED, _RESERVED, _FREE]}
    amount = {"field": "amount", "type": "quantitative"}
    return {
        "height": _AXES_PIXELS + _BAR_PIXELS * symbols,
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "y": {"field": "symbol", "type": "nominal", "title": None, "axis": {"labelLimit": 160}},
            "x": {**amount, "title": f"Allocation, {quote}", "stack": "zero", "axis": {"format": ",.0f"}},
            "color": {"field": "part", "type": "nominal", "title": None, "scale": parts, "legend": {"orient": "top"}},
            "order": {"field": "order", "type": "ordinal"},
            "tooltip": [
                {"field": "symbol", "type": "nominal", "title": "Symbol"},
                {"field": "part", "type": "nominal", "title": "Part"},
                {**amount, "title": quote, "format": ",.2f"},
            ],
        },
    }
