"""The texts and tables that the Prefect UI shows of the account."""

from decimal import Decimal

from tasks.views.prefect_pages import daily_report, status_line, status_rows
from tasks.views.result_models import ResultsView
from tasks.views.rules import has_usage_drift
from tests.support.views import NOW, status, symbol, worker

DAY_MS = 86_400_000


def test_the_status_is_one_line() -> None:
    """What the account does, its money, how many trade it, and what nobody ticks."""
    view = status(symbol(), symbol("ETH/USDT", dark=True), fills=4, workers=(worker(), worker("two", alive=False)))
    assert status_line(view) == (
        "trading: equity 10000.00 USDT, profit 0.00 (grid 0.00, floating 0.00, fees 0.00), "
        "committed 1000.00 of 9500.00, 2 symbols, 4 fills, 1 workers, dark: ETH/USDT"
    )
    assert status_line(status(stopped=True, paused=True)).startswith("stopped: ")
    assert status_line(status(paused=True)).startswith("paused: ")


def test_the_table_has_the_account_and_each_symbol() -> None:
    """With the same columns, and why cells are idle."""
    rows = status_rows(status(symbol(idle={"SYMBOL_LIMIT": 2, "ABOVE_PRICE": 3}, open_orders=7)))
    assert [row["Symbol"] for row in rows] == ["all", "BTC/USDT"]
    assert len({tuple(row) for row in rows}) == 1
    assert (rows[1]["Idle"], rows[1]["Orders"], rows[1]["Committed"]) == (
        "3 above_price, 2 symbol_limit",
        "7",
        "500.00",
    )


def test_a_day_is_a_page_of_markdown() -> None:
    """The day beside its thirty days, then each symbol; what is not defined is a dash."""
    midnight = NOW // DAY_MS * DAY_MS
    day = ResultsView(
        name="day", from_ms=midnight, to_ms=midnight + DAY_MS, trades=12, rounds=5, grid_profit=Decimal("7.5")
    )
    month = day.model_copy(update={"trades": 300, "grid_apr": Decimal("0.1234")})
    lines = daily_report(day, month, status(symbol(grid_profit=Decimal(9), open_orders=3))).splitlines()
    assert lines[0] == "# 2024-01-01 (UTC)"
    assert "| Trades | 12 | 300 |" in lines
    assert "| Grid profit | 7.50 | 7.50 |" in lines
    assert "| Grid APR | – | 12.34 % |" in lines
    assert "| BTC/USDT | 9.00 | 0.00 | 3 |" in lines


def test_usage_drifts_apart_where_a_rebalance_is_triggered() -> None:
    """From a difference of 0.3 between two symbols that trade."""
    near, far = symbol("ETH/USDT", usage=Decimal("0.49")), symbol("ETH/USDT", usage=Decimal("0.5"))
    assert not has_usage_drift(status(symbol(), near))
    assert has_usage_drift(status(symbol(), far))
    assert not has_usage_drift(status(symbol()))
