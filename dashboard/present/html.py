"""HTML of the screens: every text is escaped on its way in. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal
from functools import cache
from html import escape
from typing import NamedTuple

from dashboard.present.numbers import mark, signed
from dashboard.present.times import clock, iso, local, utc
from tasks.views.glossary import GLOSSARY


class Html(str):
    """Text that is HTML already. Anything else is escaped where it is used."""

    __slots__ = ()


Content = str | Iterable[str] | None


def html(content: Content) -> Html:
    """A text, or parts of one, as HTML."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(content))
    return Html("".join(map(html, content)))


def el(name: str, content: Content = None, **attributes: str | int | bool | None) -> Html:
    """An element. `class_` is the attribute class, `aria_label` is aria-label; those that are None are left out."""
    written = [
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    return Html(f"<{name}{''.join(written)}>{html(content)}</{name}>")


def image(source: str, text: str, class_: str, width: int, height: int) -> Html:
    """An image; `text`: what it shows, for those who do not see it."""
    size = f'width="{width}" height="{height}"'
    return Html(f'<img class="{class_}" src="{escape(source)}" alt="{escape(text)}" {size}>')


def link(text: Content, url: str, class_: str | None = None) -> Html:
    """A link that opens in the same tab."""
    return el("a", text, href=url, class_=class_)


def moment(ms: int | None, zone: tzinfo, now_ms: int | None = None) -> Html:
    """A time in the viewer's zone, UTC on hover. `now_ms`: of today only the time is shown."""
    if ms is None:
        return Html("–")
    text = local(ms, zone) if now_ms is None else clock(ms, zone, now_ms)
    return el("time", text, datetime=iso(ms), title=utc(ms))


def gain(amount: Decimal | None, text: str | None = None, digits: int = 2) -> Html:
    """An amount in the colour of a gain or a loss, with a mark that says the same. `text`: shown instead."""
    sign = mark(amount, digits)
    kind = {"▲": "gf-gain", "▼": "gf-loss"}.get(sign, "gf-even")
    shown = text or signed(amount, digits)
    return el("span", [el("span", sign, class_="gf-mark", aria_hidden="true"), shown] if sign else shown, class_=kind)


def side(name: str) -> Html:
    """`▲ buy`, `▼ sell`."""
    is_buy = name.lower() == "buy"
    words = [el("span", "▲" if is_buy else "▼", class_="gf-mark", aria_hidden="true"), name.lower()]
    return el("span", words, class_="gf-buy" if is_buy else "gf-sell")


def meaning(label: str) -> str | None:
    """What the glossary says of a label such as `Equity, USDT` or `Rounds`; None where it does not have the word."""
    word = label.partition(",")[0].lower()
    return GLOSSARY.get(word) or GLOSSARY.get(word.removesuffix("s"))


@cache
def term(label: str, note: str | None = None) -> Html:
    """A label with what it means on hover: what the glossary says, else `note`."""
    found = meaning(label) or note
    return el("abbr", label, title=found) if found else html(label)


def badge(text: str, kind: str = "plain", title: str | None = None) -> Html:
    """A word in a frame. `kind`: plain, good, warn, bad or info."""
    return el("span", text, class_=f"gf-badge gf-{kind}", title=title)


class Column(NamedTuple):
    """A column of a table. `align`: left or right. `note`: see `term`. `wraps`: over several lines."""

    title: str
    align: str = "left"
    note: str | None = None
    wraps: bool = False


def number(title: str, note: str | None = None) -> Column:
    """A column of numbers: aligned at their right end."""
    return Column(title, "right", note)


class Row(NamedTuple):
    """The cells of a row; the first names it. `class_`: of the row."""

    cells: Sequence[Content]
    class_: str | None = None


def table(
    name: str, columns: Sequence[Column], rows: Iterable[Row | Sequence[Content]], empty: str, tall: bool = False
) -> Html:
    """A table with its name for screen readers, or the line `empty`. Wide ones scroll; `tall` ones scroll downwards."""
    made = [row if isinstance(row, Row) else Row(row) for row in rows]
    if not made:
        return el("p", empty, class_="gf-none")
    classes = [
        " ".join(filter(None, ("gf-n" if one.align == "right" else "", "gf-wrap" if one.wraps else "")))
        for one in columns
    ]
    head = [
        el("th", term(one.title, one.note), scope="col", class_=kind or None)
        for one, kind in zip(columns, classes, strict=True)
    ]
    body = [el("tr", _cells(row, classes), class_=row.class_) for row in made]
    inner = el("table", [el("caption", name, class_="gf-hidden"), el("thead", el("tr", head)), el("tbody", body)])
    return el(
        "div", inner, class_="gf-table gf-tall" if tall else "gf-table", role="region", tabindex="0", aria_label=name
    )


def _cells(row: Row, classes: Sequence[str]) -> list[Html]:
    first, *rest = zip(row.cells, classes, strict=True)
    return [
        el("th", first[0], scope="row", class_=first[1] or None),
        *(el("td", content, class_=kind or None) for content, kind in rest),
    ]


def tile(label: str, value: Content, below: Content = None, title: str | None = None) -> Html:
    """A figure with its name, and a line below it. `title`: what the name means, where the glossary does not say."""
    parts = [el("dt", term(label, title)), el("dd", value, class_="gf-value")]
    return el("div", [*parts, el("dd", below, class_="gf-below")] if below else parts, class_="gf-tile")


def tiles(parts: Iterable[str]) -> Html:
    """Figures side by side, as many as the screen is wide."""
    return el("dl", parts, class_="gf-tiles")


def bar(parts: Mapping[str, Decimal], whole: Decimal, text: str) -> Html:
    """Parts of a whole as one bar. `parts`: class → amount; `text`: the same in words."""
    wide = [
        el("span", None, class_=name, style=f"width:{float(max(amount, Decimal(0)) / whole * 100):.2f}%")
        for name, amount in parts.items()
        if whole
    ]
    return el("div", wide, class_="gf-bar", role="img", aria_label=text, title=text)
