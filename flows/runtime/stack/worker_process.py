"""The worker process of the one-machine stack: `python -m flows.runtime.stack.worker_process`.

Waits for the Prefect server, deploys, starts the first windows, runs flows until SIGTERM, then drains and closes the
trading side in order: pause, wait for orders in flight, cancel open orders, save, close.
"""

import asyncio
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import httpx

from flows.runtime.stack.children import (
    ONLY_STOP,
    RECYCLE,
    beat_files,
    worker_deployed_file,
    worker_ready_file,
    worker_refusal_file,
)
from flows.runtime.stack.imports import without_collector
from flows.runtime.stack.stop_report import keep_orders_file, worker_stop_file, write_report
from flows.runtime.stack.worker_logs import separate_prefect
from flows.runtime.worker.deployments import PlannedDeployment, planned_deployments
from flows.runtime.worker.renewal import RECYCLE_AFTER
from flows.runtime.worker.trading_side import OpenTrading
from tasks.base.deployment_names import DeploymentNames
from tasks.base.errors import ConfigError, GridflowError
from tasks.base.events import EventKind
from tasks.settings.environment import configured_prefect_api, state_dir
from tasks.settings.load import load
from tasks.settings.logs import FOLDER as LOG_FOLDER
from tasks.settings.model import Settings
from tasks.settings.secret_values import secret_texts
from tasks.tick import watchdog
from tasks.tick.stopping import StopReport

_log = logging.getLogger("gridflow.worker")
_PREFETCH_SECONDS = 3
_FIRST_SECONDS = 180.0  # the server's first start makes the database's tables
_AGAIN_SECONDS = 3.0  # a worker that is started again while the server hangs must trade
_DEPLOY_SECONDS = 60.0
_DEPLOY_AGAIN_SECONDS = 3.0
_WORKER_NAME = "one-machine-stack"
_EXCHANGE_SIDE = ("ccxt.async_support",)
_PREFECT_SIDE = ("flows.runtime.worker.deploy", "flows.runtime.worker.startup", "flows.runtime.worker.worker")


class TradingService(Protocol):
    """What the worker process needs of the trading service."""

    def open(self) -> None: ...
    def request_stop(self) -> None: ...
    def graceful_stop(self) -> StopReport: ...
    def end_with_orders(self) -> StopReport: ...
    def beat(self, file: Path) -> None: ...


async def work(
    plan: Callable[[], list[PlannedDeployment]],
    service: TradingService,
    on_ready: Callable[[], None],
    settings: Settings,
    recycle_after: int = RECYCLE_AFTER,
    trading: OpenTrading | None = None,
) -> int:
    """Deploy and run until SIGTERM, then stop the pot; or until the process has run long enough and asks for a restart.

    `plan` returns the deployments. It is called once the trading service is open and knows the settings in force.
    `trading`: see GridflowWorker.
    Returns the process's exit code: 0, 1 when the stop left orders open, or RECYCLE when they are left to the next
    process.
    """
    stop_asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop_asked.set)
    # Opening the exchange takes seconds, and so does the server's first start: both at once.
    seconds = _AGAIN_SECONDS if worker_deployed_file(state_dir()).exists() else _FIRST_SECONDS
    _, is_healthy = await asyncio.gather(asyncio.to_thread(service.open), _until_healthy(stop_asked, seconds))
    if stop_asked.is_set():
        return 0
    main_beat, trading_beat = beat_files(state_dir())
    beating = asyncio.create_task(watchdog.beat(main_beat))  # until this loop ends
    service.beat(trading_beat)
    planned = await asyncio.to_thread(plan)
    deploying = asyncio.create_task(_deploy_in_time(planned, settings.account, stop_asked))
    if is_healthy:
        await asyncio.wait({deploying}, timeout=_DEPLOY_SECONDS)
    if not deploying.done():
        _log.warning("the Prefect server does not answer: windows are run without it until it does")
    try:
        if not stop_asked.is_set():
            on_ready()
            if await _run_flows(service, settings, recycle_after, trading):
                return RECYCLE
    finally:
        deploying.cancel()
    assert not beating.done()
    return await _stop_pot(service)


async def _deploy_in_time(planned: list[PlannedDeployment], account: str, stop_asked: asyncio.Event) -> None:
    """Deploy as soon as the server answers; what fails is tried again."""
    from prefect.exceptions import PrefectException

    while not stop_asked.is_set():
        await _until_healthy(stop_asked, float("inf"))
        try:
            async with asyncio.timeout(_DEPLOY_SECONDS):
                await _deploy(planned, account)
        except (httpx.HTTPError, PrefectException, OSError, TimeoutError) as error:
            _log.warning("deploying failed, trying again: %r", error)
            await asyncio.sleep(_DEPLOY_AGAIN_SECONDS)
        else:
            worker_deployed_file(state_dir()).touch()
            return


async def _deploy(planned: list[PlannedDeployment], account: str) -> None:
    """Deploy, delete the windows that nobody ran, and start a window of each symbol."""
    from flows.runtime.worker.deploy import deploy
    from flows.runtime.worker.startup import delete_late_windows, start_windows_now

    # The stack's server is its own: what an earlier version deployed without an account is this account's.
    report = await deploy(planned, account, unmarked_owner=account)
    _log.info(
        "deployed: %d created, %d changed, %d removed", *map(len, (report.created, report.changed, report.removed))
    )
    await delete_late_windows(DeploymentNames(account).pool)
    await start_windows_now(planned)


async def _run_flows(
    service: TradingService, settings: Settings, recycle_after: int, trading: OpenTrading | None
) -> bool:
    """Run flows until SIGTERM, or until the process has run long enough; whether it asks for a restart."""
    from flows.runtime.worker.worker import GridflowWorker

    early: list[asyncio.Future[int]] = []

    def request_stop() -> None:
        service.request_stop()
        if not worker.recycling and not early:
            early.append(asyncio.ensure_future(_stop_pot(service)))

    worker = GridflowWorker(
        work_pool_name=DeploymentNames(settings.account).pool,
        name=_WORKER_NAME,
        prefetch_seconds=_PREFETCH_SECONDS,
        settings=settings,
        request_stop=request_stop,
        trading=trading,
        recycle_after=recycle_after,
        start_afresh=None,  # the stack's supervisor starts a new process
    )
    await worker.start(printer=_log.info)
    if not worker.recycling:
        for error in await asyncio.gather(*early, return_exceptions=True):
            if isinstance(error, Exception):
                _log.warning("the first stop failed, trying again: %s", error)
    return worker.recycling


async def _stop_pot(service: TradingService) -> int:
    """Stop the pot and write down what is left. This runs twice.

    First at once, because the end of the last run waits for Prefect, which may hang; again when no run is left.
    """
    return await asyncio.to_thread(stop_now, service)


def stop_now(service: TradingService) -> int:
    """Cancel every open order, or leave them where the stop said so, and write down what is left; the exit code."""
    kept = keep_orders_file(state_dir()).exists()
    return write_stop(service.end_with_orders() if kept else service.graceful_stop(), kept)


def write_stop(report: StopReport, kept: bool = False) -> int:
    """Write the report of the stop for the stack; the exit code: 0, or 1 where orders are left open.

    `kept`: they were to stay.
    """
    is_right = kept or report.is_clean
    _log.log(logging.INFO if is_right else logging.ERROR, "trading stopped: %s", report)
    write_report(worker_stop_file(state_dir()), report.as_json(), kept)
    return 0 if is_right else 1


async def _until_healthy(stop_asked: asyncio.Event, seconds: float) -> bool:
    """Wait for the server, at most so long; whether it answers."""
    url = f"{configured_prefect_api()}/health"
    deadline = time.monotonic() + seconds
    async with httpx.AsyncClient(timeout=min(5.0, seconds), trust_env=False) as client:
        while not stop_asked.is_set() and time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if (await client.get(url)).is_success:
                    return True
            await asyncio.sleep(0.2)
    return False


def main() -> None:
    """Entry point of the process."""
    logging.basicConfig(level=logging.WARNING)  # until Prefect is imported
    settings = load()
    only_stop = ONLY_STOP in sys.argv
    with without_collector():  # while the server is still starting
        from flows.runtime import account_work
        from flows.runtime.service import service

        for name in _EXCHANGE_SIDE if only_stop else (*_EXCHANGE_SIDE, *_PREFECT_SIDE):
            importlib.import_module(name)
    separate_prefect(state_dir() / LOG_FOLDER, secret_texts(settings))
    trading = service()

    def plan() -> list[PlannedDeployment]:
        return planned_deployments(trading.settings, trading.ask(account_work.retiring))

    try:
        sys.exit(stop_now(trading) if only_stop else _run(settings, trading, plan, service))
    except GridflowError as error:
        _log.error("%s", error)
        worker_refusal_file(state_dir()).write_text(str(error), encoding="utf-8")
        sys.exit(os.EX_CONFIG if isinstance(error, ConfigError) else 1)
    except Exception as error:
        trading.tell_crash(EventKind.PROCESS_CRASHED, error, process=f"worker {os.getpid()}")
        raise
    finally:
        trading.close()


def _run(
    settings: Settings,
    service: TradingService,
    plan: Callable[[], list[PlannedDeployment]],
    trading: OpenTrading,
) -> int:
    watchdog.enable()
    ready = worker_ready_file(state_dir()).touch
    return asyncio.run(work(plan, service, ready, settings, trading=trading))


if __name__ == "__main__":
    main()
