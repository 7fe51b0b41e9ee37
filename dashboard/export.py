"""`GET /export/fills.csv`: all fills that a filter holds, with exact amounts, newest first.

The filter: `?symbol=BTC/USDT&side=buy&from=MS&to=MS`, each optional; times in ms since the epoch, `to` is not part of
the span. A plain URL instead of Streamlit's download button: the button's link is valid only until the screen
refreshes, so a click at the wrong moment would fetch nothing.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from dashboard.connection import NoHistory, Reader, reader
from dashboard.present.csv_file import csv_head, csv_lines
from tasks.exchange.models import Side
from tasks.history.queries import Cursor, FillFilter
from tasks.views import history

PATH = "/export/fills.csv"
_ROWS = 2000


def query(wanted: FillFilter) -> dict[str, str]:
    """The query parameters of a filter."""
    values = {
        "symbol": wanted.symbol,
        "side": wanted.side.value if wanted.side else None,
        "from": wanted.from_ms,
        "to": wanted.to_ms,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def filter_of(request: Request) -> FillFilter:
    """The filter of a request. Raises ValueError, which names the parameter."""
    asked = request.query_params
    try:
        side = Side(asked["side"]) if "side" in asked else None
    except ValueError:
        raise ValueError(f"side: {asked['side']!r} is neither buy nor sell") from None
    return FillFilter(symbol=asked.get("symbol"), side=side, from_ms=_ms(request, "from"), to_ms=_ms(request, "to"))


def _ms(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ValueError(f"{name}: {text!r} is no time in ms since the epoch")
    return int(text)


def fills(request: Request) -> Response:
    """The CSV file; 400 for a wrong filter, 404 for an unknown symbol, 503 without a history. Runs in a thread."""
    source = reader()
    try:
        wanted = filter_of(request)
        known = source.history(lambda database: history.traded_symbols(database, source.settings.account))
        if wanted.symbol not in (None, *known, *source.settings.symbols):
            return PlainTextResponse("No such symbol\n", status_code=404)
        parts = _parts(source, wanted)
        first = next(parts)
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", status_code=400)
    except NoHistory as error:
        return PlainTextResponse(f"{error}\n", status_code=503)
    headers = {"Content-Disposition": 'attachment; filename="gridflow-fills.csv"'}
    return StreamingResponse(chain([csv_head(), first], parts), media_type="text/csv; charset=utf-8", headers=headers)


def _parts(source: Reader, wanted: FillFilter) -> Iterator[bytes]:
    """The lines, some thousand at a time. A history that goes away in the middle breaks the download off."""
    place: Cursor | None = None
    while True:
        asked = partial(history.fills_page, account=source.settings.account, wanted=wanted, limit=_ROWS)
        page = source.history(partial(asked, older_than=place))
        yield csv_lines(page.fills)
        place = page.older
        if place is None:
            return
