"""Which Redis and Prefect server a command or screen uses."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.runtime.stack.record import write
from tasks.base.errors import StackError
from tasks.settings.model import Settings
from tasks.settings.running import Identity, StackRecord, has_redis, prefect_api, record_path, redis_url, stale_stack
from tests.support.stale_stack import stack_record


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackRecord:
    """A state folder with the record of a running stack; no other source is configured."""
    for name in ("PREFECT_API_URL", "GRIDFLOW_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRIDFLOW_STATE", str(tmp_path))
    me = Identity.of(os.getpid())
    assert me is not None
    record = stack_record(tmp_path, me)
    write(tmp_path, record)
    return record


def test_a_running_stacks_own_servers_are_found(stack: StackRecord) -> None:
    """Without settings, stack.json says where they are."""
    assert redis_url(Settings()) == stack.redis
    assert prefect_api() == stack.prefect_api


def test_a_configured_redis_comes_before_the_stacks(stack: StackRecord) -> None:
    """The stack itself was started with it."""
    assert redis_url(Settings(redis_url=SecretStr("redis://elsewhere"))) == "redis://elsewhere"


def test_the_stacks_prefect_server_comes_before_a_configured_one(
    stack: StackRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployments of a running stack are on its own server, whatever this shell's variable says."""
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    assert prefect_api() == stack.prefect_api
    record_path(Path(stack.state)).unlink()
    assert prefect_api() == "http://elsewhere/api"


def test_without_any_source_the_error_says_what_to_do(stack: StackRecord) -> None:
    """Both ways: run a stack, or name a server."""
    record_path(Path(stack.state)).unlink()
    assert not has_redis(Settings())
    with pytest.raises(StackError, match=r"gridflow up.*GRIDFLOW_REDIS_URL"):
        redis_url(Settings())
    with pytest.raises(StackError, match=r"gridflow up.*PREFECT_API_URL"):
        prefect_api()


def test_a_killed_stack_counts_while_a_process_of_it_is_alive(stack: StackRecord) -> None:
    """Its Valkey still holds the account; its Prefect server is not used."""
    stack.processes = {"Valkey": stack.parent}
    stack.parent = Identity(stack.parent.pid, 0.0, "")
    write(Path(stack.state), stack)
    assert stale_stack() == stack
    assert redis_url(Settings()) == stack.redis
    with pytest.raises(StackError):
        prefect_api()
    stack.processes = {}
    write(Path(stack.state), stack)
    assert stale_stack() is None
    assert not has_redis(Settings())
