"""Small lines of prices, as images. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote

from dashboard.present.html import Html, image
from dashboard.present.numbers import signed_percent

_WIDTH, _HEIGHT, _EDGE = 120, 28, 2
_UP, _DOWN = "#15803d", "#dc2626"  # seen on light and on dark ground


def spark(prices: Sequence[Decimal], what: str) -> Html:
    """A line of prices, oldest first; nothing for fewer than two. `what`: the span, for the text of the image."""
    if len(prices) < 2:
        return Html("")
    low, high = min(prices), max(prices)
    across = Decimal(_WIDTH - 2 * _EDGE) / (len(prices) - 1)
    up = Decimal(_HEIGHT - 2 * _EDGE) / (high - low) if high > low else Decimal(0)
    points = " ".join(
        f"{_EDGE + number * across:.1f},{_HEIGHT - _EDGE - (price - low) * up:.1f}"
        for number, price in enumerate(prices)
    )
    change = prices[-1] / prices[0] - 1
    colour = _DOWN if change < 0 else _UP
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"><polyline points="{points}" '
        f'fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/></svg>'
    )
    text = f"price {signed_percent(change)} {what}"
    return image(f"data:image/svg+xml,{quote(drawing)}", text, "gf-spark", _WIDTH, _HEIGHT)
