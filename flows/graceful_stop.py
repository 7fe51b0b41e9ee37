"""The `graceful-stop` flow: stop trading and cancel what rests, until `resume`."""

from typing import Any

from prefect import flow, get_run_logger

from tasks.tick.service import service


@flow(name="graceful-stop")
def graceful_stop() -> dict[str, Any]:
    """No new orders, wait for those in flight, cancel what rests, book what filled."""
    report = service().stop_trading()
    get_run_logger().info("stopped: %d orders and %d units left", report["open_orders"], report["reserved_units"])
    return report
