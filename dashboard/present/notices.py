"""What does not answer or is wrong: since when, what still works, and what to do. Pure."""

from collections.abc import Iterable, Mapping
from datetime import tzinfo

from dashboard.present.html import Html, el, html, moment
from dashboard.present.notes import base_text, breaker_text, dark_text, failure_text
from dashboard.present.numbers import money
from dashboard.present.times import age_text
from tasks.views.models import StatusView
from tasks.views.parts import PartState, PartView, history_notes

_WORDS = {PartState.GOOD: "works", PartState.POOR: "needs a look", PartState.AWAY: "away"}
_KINDS = {PartState.GOOD: "good", PartState.POOR: "warn", PartState.AWAY: "bad"}
_MARKS = {PartState.GOOD: "●", PartState.POOR: "◐", PartState.AWAY: "○"}


def since(part: PartView, now_ms: int, zone: tzinfo) -> Html:
    """`since 12:03:10 (2 min)`, where that is known."""
    if part.since_ms is None:
        return Html("")
    return html([" since ", moment(part.since_ms, zone, now_ms), f" ({age_text((now_ms - part.since_ms) / 1000)})"])


def part_notice(part: PartView, now_ms: int, zone: tzinfo) -> Html:
    """A part that does not answer, or not well."""
    is_away = part.state is PartState.AWAY
    lines = el("strong", [f"{part.name}: ", with_code(part.said), since(part, now_ms, zone), "."])
    facts = [(name, text) for name, text in (("Still works", part.works), ("What to do", part.todo)) if text]
    facts.append(("Recovery", "This page tries again every few seconds and goes on by itself."))
    return notice([el("p", lines), el("dl", _pairs(facts))], "bad" if is_away else "warn")


def _pairs(facts: Iterable[tuple[str, str]]) -> Html:
    return html([part for name, text in facts for part in (el("dt", name), el("dd", with_code(text)))])


def with_code(text: str) -> Html:
    """A text with what stands between backticks as code."""
    return html([el("code", part) if number % 2 else part for number, part in enumerate(text.split("`"))])


def notice(content: Iterable[str] | str, kind: str) -> Html:
    """A framed message. `kind`: bad, warn or info."""
    return el("div", content, class_=f"gf-notice gf-{kind}", role="alert" if kind == "bad" else "status")


def trouble_lines(view: StatusView) -> list[tuple[str, str]]:
    """(kind, text) of what is wrong beside parts that do not answer."""
    found = [("warn", note) for note in history_notes(view.history)]
    if view.short:
        text = (
            f"The exchange holds {money(view.short)} {view.quote} less than the pot promises: no new buys are granted."
        )
        found.append(("bad", text))
    texts = [("bad", base_text(view)), ("bad", breaker_text(view)), ("bad", failure_text(view))]
    dark = dark_text(view)
    texts.append(("bad", f"Nobody ticks {dark}" if dark else ""))
    if view.settings_differ:
        fields = ", ".join(view.settings_differ[:5]) + (" …" if len(view.settings_differ) > 5 else "")
        texts.append(("info", f"The settings file differs from the settings in force in {fields}. See Settings."))
    return [*found, *((kind, text) for kind, text in texts if text)]


def notices(view: StatusView | None, parts: Iterable[PartView], now_ms: int, zone: tzinfo) -> Html:
    """All that is wrong, one below the other; empty while nothing is."""
    found = [part_notice(part, now_ms, zone) for part in parts if part.state is PartState.AWAY]
    if view is not None:
        found += [notice(el("p", text), kind) for kind, text in trouble_lines(view)]
    return html(found)


def part_cards(parts: Iterable[PartView], more: Mapping[str, Iterable[str]], now_ms: int, zone: tzinfo) -> Html:
    """Every part with its state. `more`: part → lines of HTML or text below it."""
    made = []
    for part in parts:
        head = [el("span", _MARKS[part.state], class_=f"gf-dot gf-{_KINDS[part.state]}", aria_hidden="true"), part.name]
        body = [
            el("h4", [*head, el("span", _WORDS[part.state], class_="gf-state")]),
            el("p", [part.said, since(part, now_ms, zone)]),
        ]
        if part.state is not PartState.GOOD and part.todo:
            body.append(el("p", with_code(part.todo), class_="gf-todo"))
        body += [el("p", line, class_="gf-below") for line in more.get(part.name, ())]
        made.append(el("li", body, class_="gf-card"))
    return el("ul", made, class_="gf-cards gf-parts")
