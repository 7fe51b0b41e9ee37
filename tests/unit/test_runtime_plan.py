"""Which deployments there are, and that prefect.yaml says the same."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from flows.runtime.worker.deployments import ANCHOR, PlannedDeployment, planned_deployments
from flows.runtime.worker.job_configuration import job_template
from flows.runtime.worker.worker import GridflowWorker
from tasks.settings.model import Settings

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


def test_prefect_yaml_is_the_plan_of_the_default_settings() -> None:
    """Names, entry points, parameters and schedules agree, without a server."""

    def as_planned(raw: dict[str, Any]) -> tuple[Any, ...]:
        schedules = tuple(
            (each["slug"], each["interval"], datetime.fromisoformat(each["anchor_date"])) for each in raw["schedules"]
        )
        return raw["name"], raw["entrypoint"], raw.get("parameters", {}), schedules

    def as_written(plan: PlannedDeployment) -> tuple[Any, ...]:
        every = plan.every
        return (
            plan.name,
            plan.entrypoint,
            plan.parameters,
            ((every.slug, every.seconds, every.anchor),) if every else (),
        )

    written = [as_planned(raw) for raw in yaml.safe_load(_YAML.read_text())["deployments"]]
    assert written == [as_written(plan) for plan in planned_deployments(Settings())]


def test_every_schedule_of_prefect_yaml_keeps_its_phase_and_its_switch() -> None:
    """Without a slug a deploy recreates a schedule as active; without an anchor it moves it; `active` overrides it."""
    schedules = [each for raw in yaml.safe_load(_YAML.read_text())["deployments"] for each in raw["schedules"]]
    assert all({"slug", "anchor_date"} <= set(each) and "active" not in each for each in schedules)


def test_the_template_of_the_work_pool_is_that_of_the_worker_type() -> None:
    """`prefect work-pool create --type gridflow` takes the one, `gridflow deploy` the other."""
    assert job_template() == GridflowWorker.get_default_base_job_template()
