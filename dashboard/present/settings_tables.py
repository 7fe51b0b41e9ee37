"""The Settings screen: every field, the check's result, and what differs from the settings in force. Pure."""

from collections.abc import Iterable, Sequence

from dashboard.present.html import Column, Html, Row, badge, el, html, table
from dashboard.present.notices import notice
from tasks.base.errors import Problem
from tasks.views.settings_page import SECRET, SettingDifference, SettingRow

_COLUMNS = (Column("Setting"), Column("Value", wraps=True), Column("Meaning", wraps=True))
_DIFFERENCES = (Column("Setting"), Column("In the file", wraps=True), Column("In force", wraps=True))


def sections(rows: Iterable[SettingRow]) -> dict[str, list[SettingRow]]:
    """The rows by section, in the order of the file."""
    found: dict[str, list[SettingRow]] = {}
    for row in rows:
        found.setdefault(row.section, []).append(row)
    return found


def matching(rows: Iterable[SettingRow], text: str, only_set: bool) -> list[SettingRow]:
    """The rows whose name, value or meaning holds `text`; `only_set`: that differ from their default."""
    wanted = text.strip().casefold()
    return [
        row
        for row in rows
        if wanted in f"{row.section}.{row.name} {row.value} {row.meaning}".casefold()
        and not (only_set and row.is_default)
    ]


def section_table(name: str, rows: Iterable[SettingRow]) -> Html:
    """The fields of one section."""
    made = [
        Row(
            (
                row.name,
                badge("hidden", "plain") if row.value == SECRET else el("span", row.value, class_="gf-code"),
                row.meaning,
            ),
            None if row.is_default else "gf-row-set",
        )
        for row in rows
    ]
    return table(f"Settings of {name}", _COLUMNS, made, "Nothing of that name.")


def check_result(problems: Sequence[Problem]) -> Html:
    """What `gridflow check` says of the file."""
    if not problems:
        return notice(
            el("p", [el("strong", "The check found nothing wrong."), " The file and the environment fit."]), "good"
        )
    lines = [el("li", str(problem)) for problem in problems]
    return notice(html([el("p", el("strong", f"The check found {len(problems)} problem(s).")), el("ul", lines)]), "bad")


def differences_table(found: Iterable[SettingDifference]) -> Html:
    """Where the file and the settings in force differ."""
    rows = [
        (one.name, el("span", one.in_file, class_="gf-code"), el("span", one.in_force, class_="gf-code"))
        for one in found
    ]
    return table(
        "The file and the settings in force", _DIFFERENCES, rows, "The file agrees with the settings in force."
    )
