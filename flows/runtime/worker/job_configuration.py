"""The job configuration of the worker type `gridflow`, and the template of its work pools."""

from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import PrivateAttr


class GridflowJobConfiguration(BaseJobConfiguration):
    """No options. It carries the deployment's entry point to the run, which saves an API call."""

    _entrypoint: str | None = PrivateAttr(default=None)

    def prepare_for_flow_run(self, flow_run: FlowRun, deployment: Any = None, *args: Any, **kwargs: Any) -> None:
        super().prepare_for_flow_run(flow_run, deployment, *args, **kwargs)
        self._entrypoint = deployment.entrypoint if deployment is not None else None


def job_template() -> dict[str, Any]:
    """The base job template of a pool, as the worker type's own class gives it."""
    variables = BaseVariables.model_json_schema()
    variables.pop("title", None)
    return {"job_configuration": GridflowJobConfiguration.json_template(), "variables": variables}
