"""Every screen without a browser: an empty account, one that has traded, and one of 100 symbols and 100,000 trades."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis as sync_redis
from sqlalchemy import event
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from dashboard import connection, source
from dashboard.connection import Reader
from tasks.settings.model import Settings
from tests.support.large_account import fill_history, fill_redis, settings
from tests.support.own_loop import in_own_loop
from tests.support.round_trips import RoundTrips, counted_round_trips
from tests.support.seeding import account, archive, traded_redis
from tests.support.servers import RestartableRedis
from tests.support.waiting import until

SCREENS = ("overview", "grid", "trades", "allocation", "backtest", "logs", "settings")
MOST_ROUND_TRIPS, MOST_STATEMENTS = 40, 60


@pytest.fixture(scope="module", autouse=True)
def _one_scan() -> Iterator[None]:
    """AppTest looks through every installed package at each run, for components of other authors: a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", list)
        yield


class Account(NamedTuple):
    """An account that screens show, and what each screen must show of it."""

    settings: Settings
    state: Path
    words: dict[str, str]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Three symbols that have traded."""
    state = tmp_path_factory.mktemp("state")
    with traded_redis(tmp_path_factory.mktemp("redis")) as server:
        in_own_loop(archive(server.url, state))
        own = Settings.model_validate(account().model_dump() | {"redis_url": server.url})
        words = {"overview": "ETH/USDT", "grid": "selling", "trades": "maker", "allocation": "scheduled"}
        words["backtest"] = "candles from"
        yield Account(own, state, words | {"logs": "fill booked", "settings": "binance"})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """100 symbols and 100,000 trades."""
    state, server = tmp_path_factory.mktemp("state"), RestartableRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        own = settings(100, server.url)
        asyncio.run(fill_redis(own))
        asyncio.run(fill_history(own, state, 100_000))
        words = {"overview": "S099/USDT", "grid": "market", "trades": "100,000 fills", "allocation": "S050/USDT"}
        words["backtest"] = "candles from"
        yield Account(own, state, words | {"logs": "Nothing to show", "settings": "total_funds"})
    finally:
        server.stop()


@pytest.fixture
def empty(redis_url: str, tmp_path: Path) -> Account:
    """Nobody has ticked yet: no records, no history."""
    words = {"overview": "No worker", "grid": "No cells", "trades": "0 fills"}
    words |= {"allocation": "None so far", "backtest": "candles from"}
    words |= {"logs": "Nothing to show", "settings": "total_funds"}
    return Account(Settings.model_validate({"redis_url": redis_url}), tmp_path, words)


@contextmanager
def shown(found: Account, screen: str) -> Iterator[AppTest]:
    """The screen as a visitor's session runs it."""
    source.status_source.cache_clear()
    source.answers.cache_clear()
    connection._readers[:] = [Reader(found.settings)]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GRIDFLOW_STATE", str(found.state))
            tab = AppTest.from_string(f"from dashboard.screens import {screen}\n{screen}.show()", default_timeout=60)
            yield tab.run()
    finally:
        connection._readers[0].close()
        connection._readers.clear()


def words_of(tab: AppTest) -> str:
    """All HTML on the screen."""
    return "".join(element.proto.body for element in tab.get("html"))


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("kind", ["empty", "traded", "large"])
def test_a_screen_shows_its_account(request: pytest.FixtureRequest, screen: str, kind: str) -> None:
    """Without an exception, with what belongs there."""
    found: Account = request.getfixturevalue(kind)
    with shown(found, screen) as tab:
        assert not tab.exception
        assert [title.value for title in tab.title] == [screen.capitalize()]
        assert found.words[screen].lower() in words_of(tab).lower()


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Every SQL statement of this process."""
    from sqlalchemy import Engine

    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def calls(found: Account, screen: str) -> tuple[int, int]:
    """(round trips to Redis, SQL statements) of a screen that is drawn anew by a server that runs for a while."""
    trips: RoundTrips
    with shown(found, screen) as tab, counted_round_trips() as trips, counted_statements() as said:
        source.status_source.cache_clear()
        source.answers.cache_clear()
        tab.run()
        return trips.count, len(said)


@pytest.mark.parametrize("screen", SCREENS)
def test_calls_do_not_grow_with_symbols_and_trades(traded: Account, large: Account, screen: str) -> None:
    """As many for 100 symbols and 100,000 trades as for three symbols: counted."""
    few, many = calls(traded, screen), calls(large, screen)
    assert many[0] <= few[0] <= MOST_ROUND_TRIPS
    assert many[1] <= few[1] + 3 <= MOST_STATEMENTS, "an odd day at an end of a span is counted by itself"


def test_a_screen_without_redis_keeps_what_the_history_knows(traded: Account) -> None:
    """The parts that are away are told; trades are shown."""
    gone = traded._replace(
        settings=Settings.model_validate(traded.settings.model_dump() | {"redis_url": "redis://127.0.0.1:1/0"})
    )
    with shown(gone, "trades") as tab:
        assert not tab.exception
        words = words_of(tab)
        for text in ("does not answer", "Still works", "What to do", "maker"):
            assert text in words
    for screen in SCREENS:
        with shown(gone, screen) as tab:
            assert not tab.exception


def test_hostile_log_lines_are_text(traded: Account) -> None:
    """What an exchange wrote makes no tag."""
    with shown(traded, "logs") as tab:
        assert "&lt;img src=x onerror=alert(1)&gt;" in words_of(tab)
        assert "<img src=x" not in words_of(tab)


def test_the_file_and_the_settings_in_force(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference is named with both values; a wrong file is told as the check tells it."""
    own = Settings.model_validate({"redis_url": redis_url, "total_funds": "5000"})
    with sync_redis.Redis.from_url(redis_url) as client:
        client.flushall()
    asyncio.run(_publish(own, redis_url))
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "7000")
    with shown(Account(own, tmp_path, {}), "settings") as tab:
        words = words_of(tab)
        assert "found nothing wrong" in words
        for text in ("total_funds", ">7000<", ">5000<"):
            assert text in words
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "-1")
    with shown(Account(own, tmp_path, {}), "settings") as tab:
        assert "1 problem(s)" in words_of(tab)


async def _publish(own: Settings, url: str) -> None:
    from tasks.base.redis_client import connect
    from tasks.settings.in_force import publish

    redis = connect(url)
    await publish(redis, own)
    await redis.aclose()


def test_a_grid_is_backtested_and_compared(traded: Account) -> None:
    """Bad input is told by field, value, rule and remedy; two runs, their figures, and the table for the file."""
    with shown(traded, "backtest") as tab:

        def run(**fields: str) -> str:
            for name, value in fields.items():
                tab.text_input(key=f"bt_{name}").set_value(value)
            next(one for one in tab.button if one.label == "Run the backtest").click()
            tab.run()
            until(lambda: "bt_run" not in tab.run().session_state, 30, "the backtest")
            assert not tab.exception
            return words_of(tab)

        wrong = run(cells="many", range_pct="0.03")
        for text in (".cells</code>", ">many<", "must be a whole number", "cells = 20"):
            assert text in wrong
        assert "cannot be played" not in run(cells="12")
        assert "cannot be played" not in run(cells="6")
        names = tab.selectbox(key="bt_shown").options
        assert [name.partition(" ")[0] for name in names] == ["2", "1"]
        assert [one.value for one in tab.code] == [
            '[symbols."BNB/USDT"]\ngrid = "arithmetic"\nrange_pct = "0.03"\ncells = 6\n'.rstrip()
        ]
        tab.selectbox(key="bt_other").select(names[1])
        tab.run()
        words = words_of(tab)
        assert "Settings that differ" in words
        assert len(tab.code) == 2
