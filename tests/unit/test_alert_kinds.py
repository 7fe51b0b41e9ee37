"""Every event and every kind of alert has its place in the table; conditions are told when they begin."""

import re
from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tasks.alerts.conditions import Bounds, Known, Now, look
from tasks.alerts.kinds import OF_EVENT, RULES, alert_of, alert_of_event, context_of
from tasks.alerts.models import AlertKind, AlertLevel
from tasks.alerts.summaries import fills_digest, hour_of, summary_day
from tasks.base.events import EventKind
from tasks.ledger.models import Fill
from tests.support.views import status, symbol, worker

BOUNDS = Bounds(late_seconds=120, unknown_seconds=60, language="en")


def test_every_event_is_in_the_table() -> None:
    """A new kind of event must say whether it alerts."""
    assert set(OF_EVENT) == set(EventKind)
    assert set(RULES) == set(AlertKind) - {AlertKind.CUSTOM}


def test_both_languages_use_the_same_fields() -> None:
    """A translation drops no field of a message."""
    for kind, rule in RULES.items():
        assert set(re.findall(r"{\w+}", rule.en.message)) == set(re.findall(r"{\w+}", rule.zh.message)), kind
        assert rule.zh.title != rule.en.title


def test_an_event_becomes_an_alert_with_its_facts_as_context() -> None:
    """Units of 1e-8 become quote."""
    body = '{"short_units": 1250000000, "promised_units": 5000000000}'
    alert = alert_of_event(EventKind.FUNDS_SHORT, body, "en", 7)
    assert alert is not None
    assert (alert.level, alert.kind, alert.at_ms) == (AlertLevel.ERROR, AlertKind.FUNDS_SHORT, 7)
    assert alert.context == {"short": "12.5", "promised": "50"}
    assert "12.5" in alert.message
    assert alert_of_event(EventKind.ALLOCATION_UPDATED, "{}", "en", 7) is None
    assert alert_of_event("of_a_later_version", "{}", "en", 7) is None
    assert context_of('["a"]') == {"details": ["a"]}


def test_a_stop_is_told_in_both_languages_and_as_an_error_where_orders_are_left() -> None:
    """The original's title."""
    facts = {"account": "main", "left": "no order is open", "orders_open": 0}
    assert (alert_of(AlertKind.STOPPED, facts, "en").title, alert_of(AlertKind.STOPPED, facts, "zh").title) == (
        "System stopped",
        "系统停机",
    )
    assert alert_of(AlertKind.STOPPED, facts, "en").level is AlertLevel.INFO
    assert alert_of(AlertKind.STOPPED, facts | {"orders_open": 2}, "en").level is AlertLevel.ERROR


def kinds(known: Known | None, now: Now) -> tuple[list[AlertKind], Known]:
    """The kinds of alerts that begin, and what is known then."""
    alerts, after = look(known, now, BOUNDS)
    return [alert.kind for alert in alerts], after


def now(ms: int = 0, refused: dict[tuple[str, str], int] | None = None, **view: Any) -> Now:
    """How things stand."""
    return Now(ms, status(*view.pop("symbols", ()), **view), refused or {}, (), {})


def test_a_condition_is_told_when_it_begins_and_again_after_it_ended() -> None:
    """A late symbol and a worker that is gone."""
    late: dict[str, Any] = {"symbols": (symbol(late_seconds=130.0),), "workers": (worker(alive=False),)}
    found, known = kinds(Known(), now(**late))
    assert found == [AlertKind.TICK_LATE, AlertKind.WORKER_GONE]
    assert kinds(known, now(**late))[0] == []
    _, calm = kinds(known, now(symbols=(symbol(),)))
    assert kinds(calm, now(**late))[0] == [AlertKind.TICK_LATE, AlertKind.WORKER_GONE]


def test_the_start_is_told_once() -> None:
    """Not for each worker that comes."""
    found, known = kinds(None, now(workers=(worker(),)))
    assert found == [AlertKind.STARTED]
    assert kinds(known, now(workers=(worker(), worker("two"))))[0] == []


def test_a_limit_is_told_when_it_refuses_after_a_calm_hour() -> None:
    """The past is not told, and each further refusal in the hour is not either."""
    hour, key = 3_600_000, ("BTC/USDT", "SYMBOL_LIMIT")
    view = {"symbols": (symbol(committed=Decimal(95), allocated=Decimal(100)),)}
    found, known = kinds(None, now(hour, {key: 5}, **view))
    assert found == []
    alerts, known = look(known, now(2 * hour, {key: 6}, **view), BOUNDS)
    assert [alert.context for alert in alerts] == [
        {"symbol": "BTC/USDT", "reason": "SYMBOL_LIMIT", "usage": "95", "limit": "100"}
    ]
    found, known = kinds(known, now(2 * hour + 60_000, {key: 7}, **view))
    assert found == []
    assert kinds(known, now(4 * hour, {key: 8}, **view))[0] == [AlertKind.LIMIT_HIT]


def test_new_settings_and_a_ban_are_told() -> None:
    """Settings by their version; a ban while it lasts."""
    _, known = kinds(None, now(settings_version=3))
    assert kinds(known, now(settings_version=4))[0] == [AlertKind.SETTINGS_CHANGED]
    banned = now(settings_version=3)._replace(bans={"account": 60_000})
    found, known = kinds(known, banned)
    assert found == [AlertKind.RATE_BAN]
    assert kinds(known, banned)[0] == []


def test_the_summary_is_due_at_its_hour_in_its_time_zone() -> None:
    """Before the hour, yesterday's."""
    zone = ZoneInfo("Asia/Shanghai")
    assert summary_day(1_772_323_199_000, 8, zone) == "2026-02-28"  # 2026-03-01 07:59:59
    assert summary_day(1_772_323_200_000, 8, zone) == "2026-03-01"
    assert hour_of(0, UTC) == "1970-01-01T00"


def test_fills_of_an_hour_are_summed_by_symbol() -> None:
    """Buys, sells and profit."""
    one = {
        "client_id": "c",
        "cell_key": "k",
        "price": "1",
        "qty": "1",
        "quote": "1",
        "fee": "0",
        "fee_currency": "USDT",
    }
    rest = {"fee_quote": "0", "maker": True, "at_ms": 5, "basis": "1", "symbol": "BTC/USDT"}
    made = [("1", "buy", "0"), ("2", "sell", "2.5"), ("3", "sell", "1")]
    fills = [Fill.model_validate({**one, **rest, "trade_id": n, "side": s, "profit": p}) for n, s, p in made]
    alert = fills_digest(fills, "1970-01-01T00", "en")
    assert alert.context == {"BTC/USDT": {"buys": 1, "sells": 2, "profit": "3.5"}}
