"""The light Prefect client: runs are started, followed and read; every failure says what to check."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tasks.base.errors import PrefectError, PrefectNotFound, PrefectUnavailable, RunNotFinished
from tasks.control import runs
from tasks.control.prefect_runs import PrefectRuns
from tests.support.prefect_stand_in import OUTCOME, RUN_ID, PrefectStandIn
from tests.support.servers import free_port


@pytest.fixture
def server() -> Iterator[PrefectStandIn]:
    """A server that knows rebalance/manual; the run is Pending when first asked about, Completed from then on."""
    stand_in = PrefectStandIn()
    stand_in.start()
    yield stand_in
    stand_in.stop()


def test_a_run_is_followed_to_its_end(server: PrefectStandIn) -> None:
    """The callback hears what is waited for; the log can be read afterwards."""
    prefect = PrefectRuns(server.api)
    waited: list[str] = []
    run = runs.rebalance(prefect, "main", 10, waited.append)
    assert (run.run_id, run.ok, run.label) == (RUN_ID, True, "Completed")
    assert waited == ["the run brave-newt of rebalance/manual, which is PENDING"]
    assert prefect.log(run.run_id)[-1] == OUTCOME


def test_a_run_that_takes_too_long_is_left_running(server: PrefectStandIn) -> None:
    """The error says what to check."""
    server.never_ends = True
    with pytest.raises(RunNotFinished, match="a worker runs on its work pool"):
        PrefectRuns(server.api).run("rebalance/manual", 0.01)


def test_each_account_starts_its_own_deployment(server: PrefectStandIn) -> None:
    """And never that of account `main` in its place."""
    prefect = PrefectRuns(server.api)
    assert runs.start_rebalance(prefect, "main") == RUN_ID
    with pytest.raises(PrefectNotFound, match=r"rebalance/manual-alt.*gridflow deploy"):
        runs.start_rebalance(prefect, "alt")


@pytest.mark.parametrize("api", ["http://127.0.0.1:1/api", "not a url", "http://[::1"])
def test_a_server_that_does_not_answer_is_named(api: str) -> None:
    """By every method, with the variable to check."""
    prefect = PrefectRuns(api)
    calls = (
        lambda: prefect.start("rebalance/manual"),
        lambda: prefect.state("x"),
        lambda: prefect.log("x"),
        lambda: prefect.completed_since("grid-tick", datetime(2024, 1, 1, tzinfo=UTC)),
        prefect.check_ready,
    )
    for call in calls:
        with pytest.raises(PrefectUnavailable, match=r"does not answer as expected.*PREFECT_API_URL"):
            call()


def test_a_server_that_is_not_prefect_is_named(server: PrefectStandIn) -> None:
    """It answers, but not as Prefect does."""
    server.answers["GET /flow_runs/x"] = (200, ["something else"])
    with pytest.raises(PrefectUnavailable, match="is not Prefect"):
        PrefectRuns(server.api).state("x")


def test_a_proxy_is_never_used_for_this_machine(server: PrefectStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY may name a server that cannot reach loopback addresses."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert PrefectRuns(server.api).state(RUN_ID).name == "brave-newt"


def test_a_deleted_run_is_said(server: PrefectStandIn) -> None:
    """All errors of the client share one root."""
    with pytest.raises(PrefectError, match="no longer has the run"):
        PrefectRuns(server.api).state("gone")


@pytest.mark.parametrize("api", ["http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api/"])
def test_the_page_of_a_run(api: str) -> None:
    """In Prefect's own UI, beside its API."""
    assert PrefectRuns(api).page("abc") == "http://127.0.0.1:4200/runs/flow-run/abc"
