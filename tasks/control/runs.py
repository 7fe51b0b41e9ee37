"""What an operator does through a Prefect run: rebalance now, stop in order."""

from collections.abc import Callable

from tasks.base.deployment_names import DeploymentNames
from tasks.control.prefect_runs import FlowRun, PrefectRuns


def start_rebalance(prefect: PrefectRuns, account: str, once: str = "") -> str:
    """Start the account's manual rebalance and return at once; the id of its flow run. `once`: see `PrefectRuns.start`.

    Raises PrefectUnavailable, and PrefectNotFound where the account is not deployed.
    """
    return prefect.start(DeploymentNames(account).rebalance_manual, once)


def rebalance(prefect: PrefectRuns, account: str, seconds: float, on_wait: Callable[[str], None]) -> FlowRun:
    """Run the account's manual rebalance to its end. Raises as `PrefectRuns.run` does."""
    return prefect.run(DeploymentNames(account).rebalance_manual, seconds, on_wait)


def graceful_stop(prefect: PrefectRuns, account: str, seconds: float, on_wait: Callable[[str], None]) -> FlowRun:
    """Run the account's graceful stop to its end. Raises as `PrefectRuns.run` does."""
    return prefect.run(DeploymentNames(account).graceful_stop, seconds, on_wait)
