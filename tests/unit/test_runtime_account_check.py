"""Every flow refuses a run of another account before it does anything."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows.graceful_stop import graceful_stop
from flows.grid_tick import grid_tick
from flows.log_status import log_status
from flows.rebalance import rebalance
from flows.resume import resume
from flows.runtime.worker import account_check
from flows.runtime.worker.deployments import planned_deployments
from tasks.base.errors import GridflowError
from tasks.settings.model import Settings

_FLOWS = {
    "grid-tick": grid_tick,
    "rebalance": rebalance,
    "log-status": log_status,
    "graceful-stop": graceful_stop,
    "resume": resume,
}


@pytest.mark.parametrize("plan", planned_deployments(Settings(account="alt")), ids=lambda plan: plan.full_name)
def test_a_run_of_another_account_is_refused(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both accounts. The stand-in has settings and nothing else that a flow could use."""
    only_settings = SimpleNamespace(settings=Settings(account="main"))
    monkeypatch.setattr(account_check, "service", lambda: only_settings)
    with pytest.raises(GridflowError, match=r"account 'alt'.*account 'main'"):
        _FLOWS[plan.flow_name].fn(**plan.parameters)
