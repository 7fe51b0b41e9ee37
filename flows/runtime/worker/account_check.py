"""The first check of every flow: a run of another account must not touch this account's books."""

from flows.runtime.service import service
from flows.runtime.trading import TradingService
from tasks.base.errors import GridflowError


def trading_for(account: str) -> TradingService:
    """This process's trading service. Raises GridflowError where it trades another account."""
    own = service()
    if own.settings.account != account:
        raise GridflowError(
            f"This run is for account {account!r}, but this worker trades account {own.settings.account!r}. "
            f"Nothing was done. Start a worker with account = {account!r} on that account's work pool"
        )
    return own
