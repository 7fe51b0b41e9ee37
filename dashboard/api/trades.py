"""Trades: pages with filters, the symbols that have some, statistics of a period, and a CSV file."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from dashboard import export
from dashboard.api.amounts import Answer, both, moment
from dashboard.api.problems import Problem
from dashboard.api.security import operator
from dashboard.connection import Reader, reader
from tasks.base.clock import DAY_MS, to_ms, utc_now
from tasks.exchange.models import Side
from tasks.history.database import Database
from tasks.history.queries import FillFilter
from tasks.ledger.models import Fill
from tasks.ledger.periods import Period, bucket_of
from tasks.ledger.statistics import Tally
from tasks.views import history
from tasks.views.result_models import DayView, ResultsView

router = APIRouter(prefix="/trades", tags=["trades"], dependencies=[Depends(operator)])
MOST_ROWS = 500


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


AnySide = Annotated[Side | None, BeforeValidator(_lower), Query(description="BUY or SELL, in any case")]


class Trade(Answer):
    """One fill. Amounts in quote, `qty` in base; `…_exact` is the exact text."""

    trade_id: str
    client_id: str
    symbol: str
    side: str
    price: float
    price_exact: str
    qty: float
    qty_exact: str
    quote: float
    quote_exact: str
    fee: float
    fee_exact: str
    fee_currency: str
    profit: float
    profit_exact: str
    maker: bool
    cell: str
    time: datetime

    @classmethod
    def of(cls, fill: Fill) -> "Trade":
        """A fill as the API shows it."""
        amounts = both(price=fill.price, qty=fill.qty, quote=fill.quote, fee=fill.fee, profit=fill.profit)
        return cls(
            trade_id=fill.trade_id,
            client_id=fill.client_id,
            symbol=fill.symbol,
            side=fill.side.value.upper(),
            fee_currency=fill.fee_currency,
            maker=fill.maker,
            cell=fill.cell_key,
            time=moment(fill.at_ms),
            **amounts,
        )


class Summary(Answer):
    """All trades that a filter holds. `pnl`: profit of its sells."""

    total_trades: int
    total_volume: float
    total_volume_exact: str
    pnl: float
    pnl_exact: str


class TradePage(Answer):
    """A page of trades, the newest first."""

    total: int
    page: int
    page_size: int
    items: list[Trade]
    summary: Summary


def _ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@router.get("/list")
def trades(
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
    symbol: Annotated[str | None, Query(max_length=40)] = None,
    side: AnySide = None,
    date_from: Annotated[datetime | None, Query(description="UTC where no zone is given")] = None,
    date_to: Annotated[datetime | None, Query(description="not part of the span")] = None,
) -> TradePage:
    """A page of the trades that the filters hold, with totals of all of them."""
    source = reader()
    wanted = FillFilter(symbol=symbol, side=side, from_ms=_ms(date_from), to_ms=_ms(date_to))
    nothing = history.Trades((), 0, None), Tally()
    found, tally = source.past(lambda database: _page(source, database, wanted, page_size, page), nothing)
    summary = Summary(total_trades=found.total, **both(total_volume=tally.volume, pnl=tally.profit))
    items = [Trade.of(fill) for fill in found.fills]
    return TradePage(total=found.total, page=page, page_size=page_size, items=items, summary=summary)


async def _page(
    source: Reader, database: Database, wanted: FillFilter, limit: int, number: int
) -> tuple[history.Trades, Tally]:
    account = source.settings.account
    tally = await history.totals(database, account, wanted)
    return await history.trades(database, account, wanted, limit, number, total=tally.buys + tally.sells), tally


class Symbols(Answer):
    """Symbols, sorted."""

    symbols: list[str]


@router.get("/symbols")
def symbols() -> Symbols:
    """The symbols that have a trade."""
    source = reader()
    none: list[str] = []
    account = source.settings.account
    return Symbols(symbols=source.past(lambda database: history.traded_symbols(database, account), none))


class StatisticsPeriod(StrEnum):
    """daily: today (UTC); weekly: the last 7 days; monthly: the last 30 days."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


_DAYS = {StatisticsPeriod.DAILY: 1, StatisticsPeriod.WEEKLY: 7, StatisticsPeriod.MONTHLY: 30}


class DayPoint(Answer):
    """One UTC day: what its closed cells earned, and its trades."""

    date: str
    pnl: float
    pnl_exact: str
    trades: int


class StatisticsAnswer(Answer):
    """Results of a period. What is not defined is null: see `tasks.ledger.statistics` for the formulas."""

    period: StatisticsPeriod
    symbol: str | None
    statistics: dict[str, float | int | str | None]
    daily_chart: list[DayPoint]


@router.get("/statistics")
def statistics(
    period: StatisticsPeriod = StatisticsPeriod.DAILY, symbol: Annotated[str | None, Query(max_length=40)] = None
) -> StatisticsAnswer:
    """Results of today, of 7 or of 30 days, of all symbols or of one."""
    source, now = reader(), utc_now()
    days = _DAYS[period]
    midnight = bucket_of(to_ms(now), Period.DAY, UTC).start_ms
    first = midnight - (days - 1) * DAY_MS
    account, capital = source.settings.account, source.settings.total_funds
    if symbol is not None and symbol not in (*source.settings.symbols, *symbols().symbols):
        raise Problem(404, f"{symbol} has no trades and is not configured")

    async def ask(database: Database) -> tuple[ResultsView, list[DayView]]:
        whole = await history.results(database, account, period.value, first, to_ms(now), capital, symbol)
        return whole, await history.days(database, account, FillFilter(symbol=symbol, from_ms=first, to_ms=to_ms(now)))

    none: list[DayView] = []
    whole, each = source.past(ask, (ResultsView(name=period.value, from_ms=first, to_ms=to_ms(now)), none))
    chart = [DayPoint(date=one.day, trades=one.trades, **both(pnl=one.profit)) for one in each]
    return StatisticsAnswer(period=period, symbol=symbol, statistics=_statistics(whole), daily_chart=chart)


def _statistics(found: ResultsView) -> dict[str, Any]:
    amounts = {
        "win_rate": found.win_rate,
        "total_pnl": found.grid_profit if found.total_pnl is None else found.total_pnl,
        "grid_profit": found.grid_profit,
        "floating": found.floating,
        "fees": found.fees,
        "volume": found.volume,
        "max_drawdown": found.max_drawdown,
        "max_drawdown_quote": found.max_drawdown_quote,
        "sharpe_ratio": found.sharpe,
        "sortino_ratio": found.sortino,
        "profit_factor": found.profit_factor,
        "grid_apr": found.grid_apr,
        "total_apr": found.total_apr,
        "buy_and_hold": found.buy_and_hold,
    }
    counts = {"total_trades": found.trades, "buys": found.buys, "sells": found.sells, "rounds": found.rounds}
    return counts | {"average_held_ms": found.average_held_ms} | both(**amounts)


@router.get("/export.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def export_csv(request: Request) -> Response:
    """All fills of a filter as CSV with exact amounts: `?symbol=…&side=buy&from=MS&to=MS`."""
    return export.fills(request)
