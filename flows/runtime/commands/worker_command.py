"""`gridflow worker`: one worker of the account's work pool, in the foreground."""

import asyncio
import logging
from pathlib import Path

import click

from flows.runtime.commands.connections import check_prefect
from flows.runtime.commands.options import common_options
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import StackError
from tasks.settings.environment import configured_prefect_api, override_environment
from tasks.settings.load import CONFIG_VARIABLE, load

_PREFETCH_SECONDS = 12  # longer than the ten seconds between two polls, so that a window begins on time


@click.command()
@common_options
@click.option("--name", help="Name of the worker at the Prefect server. [default: one that Prefect makes up]")
@click.option("--cancel-on-exit", is_flag=True, help="Stop the pot at the end: cancel open orders, book what filled.")
def worker(config: Path | None, state: Path | None, name: str | None, cancel_on_exit: bool) -> None:  # noqa: ARG001
    """Run one worker of the Prefect server $PREFECT_API_URL until SIGTERM or Ctrl-C; running windows then end early.

    Open orders stay for the other workers, unless --cancel-on-exit is given. Exit code 1 if some are left then.
    """
    if config is not None:
        override_environment({CONFIG_VARIABLE: str(config.absolute())})
    pool = DeploymentNames(load().account).pool
    api = configured_prefect_api()
    if api is None:
        raise StackError("No Prefect server is known. Set PREFECT_API_URL")
    check_prefect(api, None)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_work(pool, name))
    _end(cancel_on_exit)


async def _work(pool: str, name: str | None) -> None:
    from flows.runtime.worker.worker import GridflowWorker  # imports Prefect, which reads the environment

    await GridflowWorker(work_pool_name=pool, name=name, prefetch_seconds=_PREFETCH_SECONDS).start(printer=click.echo)


def _end(cancel_on_exit: bool) -> None:
    """Close the trading service. With `cancel_on_exit` stop the pot first, also if this worker never traded."""
    from flows.runtime.service import service

    trading = service()
    try:
        report = trading.graceful_stop() if cancel_on_exit else None
    finally:
        trading.close()
    if report is not None and not report.is_clean:
        raise StackError(f"The pot was stopped, but {report}")
