"""`GET /export/fills.csv`: the newest fills with exact amounts, of all symbols or of `?symbol=BTC/USDT`.

A plain URL instead of Streamlit's download button: the button's link is valid only until the screen refreshes, so a
click at the wrong moment would fetch nothing.
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dashboard.connection import NoData, reader
from dashboard.present import fills_csv
from tasks.base.redis_client import RedisClient
from tasks.views.steps import read_status
from tasks.views.store import recent_fills

PATH = "/export/fills.csv"
LIMIT = 5000


async def _csv(redis: RedisClient, chosen: str | None) -> bytes | None:
    """The file; None for an unknown symbol."""
    source = reader()
    status = await read_status(source.settings, redis)
    names = [symbol.symbol for symbol in status.symbols if chosen in (None, symbol.symbol)]
    return fills_csv(await recent_fills(redis, source.keys, names, LIMIT)) if names else None


def fills(request: Request) -> Response:
    """The CSV file; 404 for an unknown symbol, 503 without Redis. Runs in a thread of its own."""
    chosen = request.query_params.get("symbol")
    try:
        content = reader().read(lambda redis: _csv(redis, chosen))
    except NoData as error:
        return PlainTextResponse(f"{error}\n", status_code=503)
    if content is None:
        return PlainTextResponse("No such symbol\n", status_code=404)
    headers = {"Content-Disposition": 'attachment; filename="gridflow-fills.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
