"""Which deployments there are, and that prefect.yaml says the same."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.events import DeploymentTriggerTypes
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from flows.runtime.worker import pages
from flows.runtime.worker.deployments import ANCHOR, planned_deployments
from flows.runtime.worker.engine import load_flow
from flows.runtime.worker.job_configuration import job_template
from flows.runtime.worker.prefect_yaml import prefect_yaml
from flows.runtime.worker.worker import GridflowWorker
from tasks.base.incidents import Incident
from tasks.settings.model import Settings
from tasks.tick.models import WindowReport

_YAML = Path(__file__).parents[2] / "prefect.yaml"


def test_windows_are_spread_over_the_window_length() -> None:
    """With n symbols a window begins every length/n seconds, always at the same phase."""
    settings = Settings.model_validate({"trading": {"window_seconds": 90}})
    windows = [plan.every for plan in planned_deployments(settings) if plan.flow_name == "grid-tick"]
    assert [every.anchor - ANCHOR for every in windows if every] == [timedelta(seconds=s) for s in (0, 30, 60)]
    assert {every.seconds for every in windows if every} == {90}


def test_every_deployment_carries_its_account() -> None:
    """By name and by parameter, so that its runs can be told from another account's."""
    plans = planned_deployments(Settings(account="alt"))
    assert all(plan.name.endswith("-alt") and plan.parameters["account"] == "alt" for plan in plans)
    assert [plan.full_name for plan in plans[:3]] == [f"grid-tick/{base}-usdt-alt" for base in ("btc", "eth", "bnb")]


def test_a_retiring_symbol_gets_windows_and_moves_no_others() -> None:
    """Its windows lie between those of the configured symbols; a configured one is not planned twice."""
    settings = Settings()
    before, after = planned_deployments(settings), planned_deployments(settings, ["SOL/USDT", "BTC/USDT", "XRP/USDT"])
    added = after[3:5]
    assert [*after[:3], *after[5:]] == before
    assert [(plan.full_name, plan.parameters["symbol"]) for plan in added] == [
        ("grid-tick/sol-usdt", "SOL/USDT"),
        ("grid-tick/xrp-usdt", "XRP/USDT"),
    ]
    assert [plan.every.offset_seconds for plan in added if plan.every] == [50, 150]


def test_prefect_yaml_is_written_from_the_default_settings() -> None:
    """The committed file is what `gridflow deploy --write-yaml` writes; what it says is the plan."""
    text = _YAML.read_text(encoding="utf-8")
    assert text == prefect_yaml(Settings())
    for settings in (Settings(), Settings(account="alt"), Settings.model_validate({"trading": {"window_seconds": 77}})):
        raws, plans = yaml.safe_load(prefect_yaml(settings))["deployments"], planned_deployments(settings)
        for raw, plan in zip(raws, plans, strict=True):
            assert (raw["name"], raw["entrypoint"]) == (plan.name, plan.entrypoint)
            assert (raw["parameters"], tuple(raw["tags"])) == (plan.parameters, plan.tags)
            every = [
                (one["slug"], one["interval"], datetime.fromisoformat(one["anchor_date"])) for one in raw["schedules"]
            ]
            assert every == ([(plan.every.slug, plan.every.seconds, plan.every.anchor)] if plan.every else [])


def test_the_example_of_a_trigger_is_one() -> None:
    """Without its comment signs Prefect reads it, and it listens to an event that flows emit."""
    lines = prefect_yaml(Settings()).splitlines()
    first = lines.index("    # triggers:")
    raw = yaml.safe_load("\n".join(line.replace("# ", "", 1) for line in lines[first : first + 6]))["triggers"]
    (trigger,) = TypeAdapter(list[DeploymentTriggerTypes]).validate_python(raw)
    assert trigger.expect <= {one.value for one in Incident}
    assert trigger.parameters == {"force": True, "reason": "manual", "account": "main"}


@pytest.mark.parametrize("path", ["rebalance.rebalance", "grid_tick.grid_tick", "log_status.log_status"])
def test_the_run_form_explains_each_parameter(path: str) -> None:
    """Titles, descriptions, bounds and choices are what the form of the Prefect UI shows."""
    fields = parameter_schema(load_flow(f"flows.{path}")).properties
    assert all(one["title"] != name and one["description"] for name, one in fields.items())
    assert fields["account"]["maxLength"] == 16
    if "reason" in fields:
        assert fields["reason"]["enum"] == ["manual", "scheduled"]


def test_a_window_shows_one_table_and_three_events_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happened in it, and nothing where it did not tick. A server that is away does not fail it."""
    shown: list[tuple[Any, ...]] = []
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(pages, "create_table_artifact", lambda *given: shown.append(given))
    monkeypatch.setattr(pages, "emit_event", lambda name, resource, payload: told.append((name, resource)))
    report = WindowReport(
        symbol="BTC/USDT",
        ticks=7,
        fills=2,
        placed=3,
        failed_ticks=1,
        why_failed="no answer",
        ended="time",
        late_seconds=1.25,
        idle={"SYMBOL_LIMIT": 4},
        incidents=tuple(Incident),
        profit=Decimal("1.5"),
    )
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        pages.show_window(
            Settings.model_validate({"account": "alt", "dashboard": {"url": "http://127.0.0.1:8501"}}), report
        )
    ((rows, key, description),) = shown
    assert key == "grid-btc-usdt-alt"
    values = {row["What"]: row["Value"] for row in rows}
    assert (values["Ticks"], values["Idle cells"], values["Latest tick"]) == (
        "7, 1 failed",
        "4 symbol_limit",
        "1.2 s late",
    )
    assert values["Grid profit of this window"] == "1.50"
    assert "[Dashboard](http://127.0.0.1:8501)" in description
    assert "[All versions](http://127.0.0.1:4200/artifacts/key/grid-btc-usdt-alt)" in description
    assert len(told) == 3
    assert {resource["prefect.resource.id"] for _, resource in told} == {"gridflow.symbol.btc-usdt-alt"}

    pages.show_window(
        Settings(), WindowReport(symbol="BTC/USDT", ticks=0, fills=0, placed=0, failed_ticks=0, ended="late")
    )
    assert (len(shown), len(told)) == (1, 3)

    def away(*_: Any) -> None:
        raise httpx.ConnectError("away")

    monkeypatch.setattr(pages, "create_table_artifact", away)
    pages.show_window(Settings(), report)


def test_every_schedule_of_prefect_yaml_keeps_its_phase_and_its_switch() -> None:
    """Without a slug a deploy recreates a schedule as active; without an anchor it moves it; `active` overrides it."""
    schedules = [each for raw in yaml.safe_load(_YAML.read_text())["deployments"] for each in raw["schedules"]]
    assert all({"slug", "anchor_date"} <= set(each) and "active" not in each for each in schedules)


def test_the_template_of_the_work_pool_is_that_of_the_worker_type() -> None:
    """`prefect work-pool create --type gridflow` takes the one, `gridflow deploy` the other."""
    assert job_template() == GridflowWorker.get_default_base_job_template()
