"""Parts of every screen: title, automatic refresh, the account's line, and what is wrong with it."""

import time
from collections.abc import Callable, Iterable
from datetime import tzinfo
from functools import cache
from importlib import resources
from typing import Any

import streamlit as st

from dashboard.connection import reader
from dashboard.gate import has_cookie
from dashboard.present.html import Html, el, html, link
from dashboard.present.notices import notices
from dashboard.present.overview import head_line
from dashboard.present.times import zone_of
from dashboard.settling import collect
from dashboard.source import Reading, status_source
from tasks.base.clock import to_ms, utc_now
from tasks.views.models import StatusView
from tasks.views.parts import PartState, PartView, database_away, part_views

QUICK_SECONDS = 2.0  # between two readings of the present, for a few symbols
CALM_SECONDS = 4.0  # for many symbols
SLOW_SECONDS = 30.0  # between two readings of the past
_MANY_SYMBOLS = 20


@cache
def _style() -> str:
    """The style sheet, as Streamlit takes it."""
    return resources.files("dashboard").joinpath("style.css").read_text(encoding="utf-8")


def page(title: str) -> None:
    """The title of a screen."""
    st.html(f"<style>{_style()}</style>")
    st.title(title)
    if has_cookie(reader().settings.account, st.context.cookies):
        put(el("p", link("Sign out", "/session/sign-out"), class_="gf-head"))


def put(content: str | Iterable[str]) -> None:
    """Draw HTML of ours."""
    made = html(content)
    if made:
        st.html(el("div", made, class_="gf"))


def quick_seconds() -> float:
    """How often the present is read: less often for many symbols."""
    view = status_source().now().view
    return CALM_SECONDS if view is not None and len(view.symbols) > _MANY_SYMBOLS else QUICK_SECONDS


def refreshing(draw: Callable[[], None], seconds: float) -> None:
    """Draw now and every few seconds, this part alone."""

    @st.fragment(run_every=seconds)
    def part() -> None:
        draw()
        collect(time.monotonic())

    part()


def now_ms() -> int:
    """The present moment, ms since the epoch."""
    return to_ms(utc_now())


def zone() -> tzinfo:
    """The viewer's time zone, as the browser names it."""
    return zone_of(st.context.timezone)


def head() -> Reading:
    """The account's line and what is wrong; the newest status."""
    source = reader()
    reading, now, own_zone = status_source().now(), now_ms(), zone()
    view = reading.view
    parts = [reading.away] if reading.away else list(part_views(view, now)) if view else []
    if source.history_outage.since_ms is not None:
        own = database_away(source.history_outage.why, source.history_outage.since_ms)
        parts = [*(part for part in parts if part.name != own.name), own]
    if view is not None:
        put(aged(head_line(view, source.settings.exchange.id, reading.at_ms, now, own_zone), reading))
    put(notices(None if reading.away else view, parts, now, own_zone))
    if reading.away and view is None:
        put(
            el("p", "Nothing was read since this dashboard started, so there are no figures to show.", class_="gf-none")
        )
    return reading


def aged(content: str | Iterable[str], reading: Reading) -> Html:
    """Figures; greyed while Redis is away, because they are old then."""
    return el("div", content, class_="gf-old") if reading.away else html(content)


def parts_of(view: StatusView | None, reading: Reading) -> list[PartView]:
    """The parts, Redis first."""
    redis = reading.away or PartView(name="Redis", state=PartState.GOOD, said="answers")
    return [redis, *(part_views(view, now_ms()) if view is not None else ())]


def options(known: Iterable[str], key: str, first: str) -> list[str]:
    """What a filter offers: `first`, the known values, and the one in the address, which may not be known now."""
    asked: Any = st.query_params.get(key)
    return list(dict.fromkeys([first, *known, *([str(asked)] if asked else [])]))
