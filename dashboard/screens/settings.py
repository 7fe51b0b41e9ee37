"""Settings: read only, secrets hidden; what the check says of the file, and what of it is not in force."""

import streamlit as st

from dashboard.connection import NoData, reader
from dashboard.present.html import el
from dashboard.present.settings_tables import check_result, differences_table, matching, section_table, sections
from dashboard.screens.frame import SLOW_SECONDS, head, page, put, quick_seconds, refreshing
from dashboard.source import answers
from tasks.views.settings_page import SettingsPage, read_settings_page


def show() -> None:
    """The screen."""
    page("Settings")
    refreshing(_head, quick_seconds())
    text, only = st.columns([3, 1.4], vertical_alignment="bottom")
    text.text_input("Find", key="find", placeholder="name, value or meaning", bind="query-params")
    only.toggle("Only what was set", key="set", bind="query-params", help="Hide settings that have their default")
    refreshing(_settings, SLOW_SECONDS)


def _head() -> None:
    head()


def _page() -> SettingsPage | None:
    source = reader()
    try:
        return answers().get(
            "settings", 10.0, lambda: source.read(lambda redis: read_settings_page(source.settings, redis))
        )
    except NoData:
        found: SettingsPage | None = answers().last("settings")
        return found


def _settings() -> None:
    found = _page()
    if found is None:
        put(el("p", "The settings in force come back with Redis.", class_="gf-none"))
        return
    put(check_result(found.problems))
    st.subheader("Difference to the settings in force")
    if not found.version:
        put(el("p", "No settings are in force yet: the first worker publishes its own.", class_="gf-none"))
    else:
        said = f"Version {found.version} is in force. `gridflow reload` puts the file in force."
        put([el("p", said, class_="gf-below"), differences_table(found.differences)])
    text, only = str(st.session_state.get("find") or ""), bool(st.session_state.get("set"))
    shown = sections(matching(found.rows, text, only))
    for name, rows in shown.items():
        st.subheader(name)
        put(section_table(name, rows))
    if not shown:
        put(el("p", "No setting has that in its name, value or meaning.", class_="gf-none"))
