"""Names of an account's Prefect deployments and work pool.

Account `main` has the plain names. Every other account appends `-<account>`. Two accounts never get the same name: a
slug is `base-quote` and neither part holds a hyphen.
"""

from dataclasses import dataclass

from tasks.base.keys import slug

MAIN_ACCOUNT = "main"

GRID_TICK = "grid-tick"
REBALANCE = "rebalance"
LOG_STATUS = "log-status"
GRACEFUL_STOP = "graceful-stop"
RESUME = "resume"


@dataclass(frozen=True)
class DeploymentNames:
    """Names of one account. Properties that name a deployment return `flow/deployment`."""

    account: str = MAIN_ACCOUNT

    def own(self, name: str) -> str:
        """`manual` → `manual` for account `main`, `manual-alt` for account `alt`."""
        return name if self.account == MAIN_ACCOUNT else f"{name}-{self.account}"

    @property
    def pool(self) -> str:
        """The account's work pool."""
        return self.own("gridflow")

    def tick(self, symbol: str) -> str:
        """The deployment that ticks `symbol`."""
        return f"{GRID_TICK}/{self.own(slug(symbol))}"

    @property
    def rebalance_hourly(self) -> str:
        return f"{REBALANCE}/{self.own('hourly')}"

    @property
    def rebalance_manual(self) -> str:
        return f"{REBALANCE}/{self.own('manual')}"

    @property
    def log_status(self) -> str:
        return f"{LOG_STATUS}/{self.own('five-minutes')}"

    @property
    def graceful_stop(self) -> str:
        return f"{GRACEFUL_STOP}/{self.own('manual')}"

    @property
    def resume(self) -> str:
        return f"{RESUME}/{self.own('manual')}"

    @property
    def without_symbol(self) -> frozenset[str]:
        """The deployments of the account that belong to no symbol."""
        return frozenset(
            (self.rebalance_hourly, self.rebalance_manual, self.log_status, self.graceful_stop, self.resume)
        )
