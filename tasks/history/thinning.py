"""Thinning a curve for a chart. Pure."""

from collections.abc import Sequence


def thinned(values: Sequence[float], most: int) -> list[int]:
    """The positions of at most `most` points (at least 4), in order: the extremes of equal parts of the curve.

    The first, the last, the highest and the lowest point always stay.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    found = extremes(values, values, parts_of(most))
    return sorted({0, count - 1, *(position for position, _ in found)})


def parts_of(most: int) -> int:
    """Into how many parts a curve is cut, so that their extremes and both ends are at most so many points."""
    return max((most - 2) // 2, 1)


def extremes(lows: Sequence[float], highs: Sequence[float], parts: int) -> list[tuple[int, bool]]:
    """Of equal parts of a curve, in order: the positions of the lowest low (False) and of the highest high (True)."""
    count, found = len(lows), set()
    for part in range(parts):
        inside = range(count * part // parts, count * (part + 1) // parts)
        if inside:
            found.add((min(inside, key=lows.__getitem__), False))
            found.add((max(inside, key=highs.__getitem__), True))
    return sorted(found)
