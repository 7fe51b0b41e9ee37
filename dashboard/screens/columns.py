"""Column formats that tables share."""

from typing import Any

import streamlit as st

from dashboard.tables import FLAG, NUMBER, TEXT, TIME, WHOLE

Column = tuple[Any, Any]


def time() -> Column:
    """A moment, to the second."""
    return TIME, st.column_config.DatetimeColumn("Time (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC", width=150)


def text(label: str, width: int | str | None = None, note: str | None = None) -> Column:
    """Words, shown as they are: never as Markdown or HTML."""
    return TEXT, st.column_config.TextColumn(label, width=width, help=note)


def money(label: str, note: str | None = None) -> Column:
    """An amount of quote, two decimals."""
    return NUMBER, st.column_config.NumberColumn(label, format="%,.2f", help=note)


def small_money(label: str, note: str | None = None) -> Column:
    """An amount of quote, four decimals: fees and profits of single fills."""
    return NUMBER, st.column_config.NumberColumn(label, format="%,.4f", help=note)


def exact(label: str, note: str | None = None) -> Column:
    """A price or a base amount with its digits."""
    return NUMBER, st.column_config.NumberColumn(label, format="%.10g", help=note)


def whole(label: str, note: str | None = None) -> Column:
    """A count."""
    return WHOLE, st.column_config.NumberColumn(label, format="%,d", help=note)


def flag(label: str, note: str | None = None) -> Column:
    """Yes or no."""
    return FLAG, st.column_config.CheckboxColumn(label, help=note, width=60)


def seconds(label: str, note: str | None = None) -> Column:
    """A duration in seconds."""
    return NUMBER, st.column_config.NumberColumn(label, format="%.0f s", help=note, width=80)


def percent(label: str, note: str | None = None) -> Column:
    """A share as a percentage."""
    return NUMBER, st.column_config.NumberColumn(label, format="percent", help=note)


def share(label: str, note: str | None = None) -> Column:
    """A share from 0 to 1 as a bar with its percentage."""
    return NUMBER, st.column_config.ProgressColumn(label, format="percent", min_value=0.0, max_value=1.0, help=note)
