"""Thinning a curve for a chart. Pure."""

from collections.abc import Sequence


def thinned(values: Sequence[float], most: int) -> list[int]:
    """The positions of at most `most` points (at least 4), in order: the extremes of equal parts of the curve.

    The first, the last, the highest and the lowest point always stay.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    parts = max((most - 2) // 2, 1)
    kept = {0, count - 1}
    for part in range(parts):
        inside = range(count * part // parts, count * (part + 1) // parts)
        kept.add(min(inside, key=values.__getitem__))
        kept.add(max(inside, key=values.__getitem__))
    return sorted(kept)
