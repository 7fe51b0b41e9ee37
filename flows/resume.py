"""The `resume` flow: trade again after a graceful stop or a pause."""

from prefect import flow, get_run_logger

from tasks.tick.service import service


@flow(name="resume")
def resume() -> None:
    """Lift the stop and every pause."""
    service().resume_trading()
    get_run_logger().info("trading again")
