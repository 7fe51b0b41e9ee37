"""Chart specifications in Vega-Lite's own words, drawn by Streamlit's bundled copy of it."""

from typing import Any

# Okabe and Ito's palette: told apart by colour-blind eyes too.
_USED, _RESERVED, _FREE = "#0072b2", "#e69f00", "#9aa5b1"
_ROW_PIXELS = 34


def equity_curve(quote: str) -> dict[str, Any]:
    """Equity over time; the data has `time` and `equity`."""
    time = {
        "field": "time",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc"},
        "axis": {"labelOverlap": True},
    }
    amount = {
        "field": "equity",
        "type": "quantitative",
        "title": f"Equity, {quote}",
        "scale": {"zero": False, "nice": True},
        "axis": {"format": ",.2f"},
    }
    tooltip = [
        {"field": "time", "type": "temporal", "title": "UTC", "format": "%Y-%m-%d %H:%M:%S", "scale": {"type": "utc"}},
        {"field": "equity", "type": "quantitative", "title": "Equity", "format": ",.2f"},
        {"field": "grid", "type": "quantitative", "title": "Grid profit", "format": ",.2f"},
    ]
    return {
        "height": 240,
        "mark": {"type": "line", "point": {"size": 12}, "strokeWidth": 2, "color": _USED},
        "encoding": {"x": time, "y": amount, "tooltip": tooltip},
    }


def shares(quote: str, symbols: int) -> dict[str, Any]:
    """Used, reserved and free stacked for each symbol; the data has `symbol`, `part`, `amount`, `order`."""
    parts = {"domain": ["used", "reserved", "free"], "range": [_USED, _RESERVED, _FREE]}
    amount = {"field": "amount", "type": "quantitative"}
    return {
        "height": 70 + _ROW_PIXELS * symbols,
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
