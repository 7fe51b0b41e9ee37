"""Log records: searched, and as a table with the way to their flow run. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo

from dashboard.present.html import Column, Content, Html, Row, badge, el, moment, table
from dashboard.present.runs import run_page, with_run_links
from tasks.views.line_models import ActionView, LogLine

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_KINDS = {"WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad"}
_LINES = (
    Column("Time"),
    Column("Level"),
    Column("Source"),
    Column("Message", wraps=True),
    Column("Fields", wraps=True),
    Column("Run"),
)
_ACTIONS = (
    Column("Time"),
    Column("By", note="cli: a command; api; dashboard; prefect: a flow run; telegram"),
    Column("Action"),
    Column("Of", note="empty: the whole pot", wraps=True),
    Column("Result", wraps=True),
)
_HIDDEN_FIELDS = ("flow_run", "flow_run_url", "process")


def matching(lines: Iterable[LogLine], text: str) -> list[LogLine]:
    """Lines whose message, logger, source or fields contain `text`, in any case."""
    wanted = text.strip().casefold()
    return [line for line in lines if not wanted or wanted in _searched(line).casefold()]


def _searched(line: LogLine) -> str:
    return " ".join((line.level, line.source, line.logger, line.message, fields_text(line.fields)))


def fields_text(fields: Mapping[str, str]) -> str:
    """`symbol=BTC/USDT side=buy`."""
    return " ".join(f"{name}={value}" for name, value in fields.items())


def at_least(lines: Iterable[LogLine], level: str | None) -> list[LogLine]:
    """Lines of that level and above; all for None."""
    wanted = LEVELS[LEVELS.index(level) :] if level in LEVELS else None
    return [line for line in lines if wanted is None or line.level in wanted]


def lines_table(lines: Sequence[LogLine], zone: tzinfo) -> Html:
    """The lines, newest first. What others wrote in them is text, never a link or a tag."""
    rows = [Row(_cells(line, zone), "gf-row-bad" if _KINDS.get(line.level) == "bad" else None) for line in lines]
    return table("Log lines", _LINES, rows, "Nothing to show.", tall=True)


def _cells(line: LogLine, zone: tzinfo) -> Sequence[Content]:
    fields = {name: value for name, value in line.fields.items() if name not in _HIDDEN_FIELDS}
    return (
        moment(line.at_ms, zone) if line.at_ms else "–",
        badge(line.level.lower(), _KINDS.get(line.level, "plain")),
        line.source,
        el("span", line.message, title=line.logger or None),
        el("span", fields_text(fields), class_="gf-code"),
        run_page(line.fields.get("flow_run_url", "")),
    )


def actions_table(found: Iterable[ActionView], zone: tzinfo, pages: str | None = None) -> Html:
    """What operators did. `pages`: URL of the Prefect UI; flow runs are links to it then."""
    rows = [
        (moment(one.at_ms, zone), one.actor, one.action, one.subject, with_run_links(one.result, pages))
        for one in found
    ]
    return table("What operators did", _ACTIONS, rows, "Nothing so far.", tall=True)
