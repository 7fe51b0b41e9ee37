"""`gridflow status` tells what trades without Prefect, and what is paused or limited there."""

from rich.console import Console

from tasks.tick.prefect_record import PrefectRecord, parsed_record
from tasks.views.models import StatusView
from tasks.views.render import status_table
from tests.support.views import NOW, status, symbol


def printed(view: StatusView) -> str:
    """The table as a terminal shows it."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(status_table(view))
    return capture.get()


def test_symbols_without_prefect_and_paused_in_prefect_are_marked() -> None:
    """With the minute, in UTC; a symbol that Prefect serves has no mark."""
    own = symbol("BTC/USDT", without_prefect_since_ms=NOW)
    text = printed(status(own, symbol("ETH/USDT", paused_in_prefect=True), symbol("BNB/USDT")))
    assert "BTC/USDT (without Prefect since 00:00)" in text
    assert "ETH/USDT (paused in Prefect)" in text
    assert "BNB/USDT  " in text
    assert "does not answer" not in text


def test_an_outage_and_a_low_limit_are_told_below_the_tables() -> None:
    """Each in one sentence with what follows from it."""
    record = PrefectRecord(at_ms=0, limit=1, needed=3)
    text = printed(status(symbol(), prefect_away_since_ms=NOW + 60_000, prefect_note=record.limit_note))
    assert "Prefect: the server does not answer the workers, since 2024-01-01 00:01 UTC. Workers run the" in text
    assert "runs at most 1 runs at once, but 3 are needed. Raise its concurrency limit" in text
    assert PrefectRecord(at_ms=0, limit=3, needed=3).limit_note == ""


def test_a_record_of_a_later_version_is_no_record() -> None:
    """Nothing is known to be paused then."""
    assert parsed_record('{"at_ms": 1, "moon": true}') is None
    assert parsed_record(None) is None
    known = parsed_record('{"at_ms": 1, "paused": ["BTC/USDT"]}')
    assert known is not None
    assert [known.is_paused(name) for name in ("BTC/USDT", "ETH/USDT")] == [True, False]
