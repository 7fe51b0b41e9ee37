"""Links to flow runs at the Prefect server. Pure."""

import re
from urllib.parse import urlsplit

from dashboard.present.html import Html, el, html

_RUN = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def run_page(url: str, text: str = "flow run") -> Html:
    """A link to the page of a flow run; nothing for what is no such page."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "/runs/flow-run/" not in parts.path:
        return Html("")
    return el("a", text, href=url, target="_blank", rel="noreferrer")


def run_link(run_id: str, pages: str | None, text: str = "flow run") -> Html:
    """A link to a flow run. `pages`: URL of the Prefect UI; nothing where it is not known, or for what is no id."""
    if pages is None or not _RUN.fullmatch(run_id):
        return Html("")
    return run_page(f"{pages.rstrip('/')}/runs/flow-run/{run_id}", text)


def with_run_links(text: str, pages: str | None) -> Html:
    """A text in which the ids of flow runs are links; `pages`: as for `run_link`."""
    parts, end = [], 0
    for found in _RUN.finditer(text):
        parts += [text[end : found.start()], run_link(found[0], pages, found[0]) or found[0]]
        end = found.end()
    return html([*parts, text[end:]])
