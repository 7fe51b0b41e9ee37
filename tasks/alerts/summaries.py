"""When the daily summary and the hourly digest of fills are due, and what they say. Pure."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from tasks.alerts.kinds import alert_of
from tasks.alerts.models import Alert
from tasks.base.alert_kinds import AlertKind
from tasks.base.money import exact, plain
from tasks.ledger.models import Fill
from tasks.views.models import StatusView


def summary_day(now_ms: int, hour: int, zone: tzinfo) -> str:
    """The day whose summary is due by now: that of the last time it was `hour` o'clock."""
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    day = now.date().toordinal() - (now.hour < hour)
    return datetime.fromordinal(day).date().isoformat()


def daily_summary(view: StatusView, day: str, language: str) -> Alert:
    """The day in a few figures; those of the last 24 hours from the history, where it was read."""
    today = next((one for one in view.results if one.name == "24 h"), None)
    context = {
        "day": day,
        "equity": f"{view.equity:.2f} {view.quote}",
        "profit": f"{view.equity_change:.2f}",
        "grid_profit": f"{view.grid_profit:.2f}",
        "fills": view.fills if today is None else today.trades,
        "grid_profit_24h": None if today is None else f"{today.grid_profit:.2f}",
        "committed": f"{view.committed:.2f}",
        "symbols": len(view.symbols),
        "dark": [symbol.symbol for symbol in view.dark],
    }
    return alert_of(AlertKind.DAILY_SUMMARY, {name: one for name, one in context.items() if one is not None}, language)


def hour_of(ms: int, zone: tzinfo) -> str:
    """The hour that this moment is in, as a name: `2026-03-01T12`."""
    return f"{datetime.fromtimestamp(ms / 1000, zone):%Y-%m-%dT%H}"


def fill_alert(fill: Fill, language: str) -> Alert:
    """One fill."""
    context = {
        "symbol": fill.symbol,
        "side": fill.side.value,
        "amount": plain(fill.qty),
        "price": plain(fill.price),
        "profit": plain(fill.profit),
        "trade_id": fill.trade_id,
    }
    return alert_of(AlertKind.FILL, context, language)


def fills_digest(fills: Sequence[Fill], hour: str, language: str) -> Alert:
    """The fills of an hour, by symbol."""
    rows = {}
    for symbol in sorted({fill.symbol for fill in fills}):
        own = [fill for fill in fills if fill.symbol == symbol]
        with exact():
            profit = sum((fill.profit for fill in own), Decimal(0))
        buys = sum(fill.side.value == "buy" for fill in own)
        rows[symbol] = {"buys": buys, "sells": len(own) - buys, "profit": plain(profit)}
    title, message = ("Fills", "{} fills from {} o'clock.") if language != "zh" else ("成交汇总", "{} 笔成交，时段 {}")
    alert = alert_of(AlertKind.FILL, {"hour": hour}, language)
    text = {"title": title, "message": message.format(len(fills), hour), "context": rows, "key": f"fills|{hour}"}
    return alert.model_copy(update=text)
