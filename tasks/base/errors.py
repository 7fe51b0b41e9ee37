"""All exceptions of Gridflow.

GridflowError
├── ConfigError            the settings cannot run; `problems` lists all that is wrong
├── MarketDataError        a candle file cannot be read; has file, line and fault
├── ExchangeError          the exchange refused a request or did not answer
│   ├── OrderArchived      the exchange keeps no details of an order that ended long ago without a fill
│   └── ExchangeUnavailable a read failed; it may be tried again
│       └── UnknownSymbol  the exchange does not know the symbol; the other symbols are not affected
├── LeaseLost              another worker has the lease of this symbol now; the tick must end
├── StateError             the state in Redis does not allow the operation
│   └── RedisRestarted     Redis restarted or went back in time; the books are being compared with the exchange
├── PrefectError           a request to the Prefect server failed
│   ├── PrefectUnavailable no usable answer from the Prefect server; has its URL and the cause
│   ├── PrefectNotFound    the server has no such deployment or run
│   └── RunNotFinished     a run did not end in time; the run goes on
└── StackError             the one-machine stack cannot start, run or stop
    └── SetupRefused       the worker raised ConfigError; the stack that started it reports the text
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class GridflowError(Exception):
    """Base class of all exceptions of Gridflow."""


@dataclass(frozen=True)
class Problem:
    """One wrong setting: its name, its value, the rule that it breaks, and how to correct it."""

    field: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.rule}. {self.remedy}"


class ConfigError(GridflowError):
    """The settings cannot run. `problems` lists all that is wrong; nothing was started."""

    def __init__(self, problems: list[Problem], source: str) -> None:
        self.problems = problems
        self.source = source
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem(s) in {source}:\n{lines}")


class MarketDataError(GridflowError):
    """A candle file is malformed. The message has the file, the line and the fault.

    Line 1 is the header. A parquet file has no header: row 1 is the first candle. Line 0: the file as a whole.
    """

    def __init__(self, file: Path, line: int, fault: str) -> None:
        self.file, self.line, self.fault = file, line, fault
        place = "row" if file.suffix == ".parquet" else "line"
        super().__init__(f"{file}, {place} {line}: {fault}" if line else f"{file}: {fault}")


class ExchangeError(GridflowError):
    """A request to an exchange failed. Base class of these errors."""


class RejectReason(StrEnum):
    """Why an order was refused."""

    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    FILTER = "FILTER"
    WOULD_TAKE = "WOULD_TAKE"
    EXPIRED_REQUEST = "EXPIRED_REQUEST"
    RATE_LIMITED = "RATE_LIMITED"  # refused by the shared rate budget: never sent
    NOT_SENT = "NOT_SENT"  # it would have left later than it is good for: never sent
    OTHER = "OTHER"


class ExchangeUnavailable(ExchangeError):
    """A read failed (network, overload, maintenance). It changed nothing and may be tried again."""


class OrderArchived(ExchangeError):
    """The order ended long ago without a fill, and the exchange keeps no details of it."""


class UnknownSymbol(ExchangeUnavailable):
    """The exchange does not know a symbol of the read, for instance because it was delisted."""


class LeaseLost(GridflowError):
    """Another worker has taken the lease of the symbol. Scripts refuse writes with the old fence."""

    def __init__(self, symbol: str, fence: int) -> None:
        self.symbol, self.fence = symbol, fence
        super().__init__(f"{symbol}: lease with fence {fence} is no longer current")


class StateError(GridflowError):
    """The state in Redis does not allow the operation. The message says why, and what to do."""


class RedisRestarted(StateError):
    """Redis is another server than the one that the books were last compared with the exchange on."""

    def __init__(self, account: str) -> None:
        self.account = account
        super().__init__(
            f"account {account!r}: Redis went back or restarted; the symbols are being compared with the exchange. "
            "The next tick goes on once that is done"
        )


class PrefectError(GridflowError):
    """A request to the Prefect server failed. The message says what to check."""


class PrefectUnavailable(PrefectError):
    """The Prefect server does not answer, or the answer is not from a Prefect server. `why` is the cause in words."""

    def __init__(self, api: str, why: str) -> None:
        self.api, self.why = api, why
        super().__init__(
            f"The Prefect server at {api} does not answer as expected ({why}). "
            "Check that it runs and that PREFECT_API_URL is its address. Trading does not depend on it"
        )


class PrefectNotFound(PrefectError):
    """The Prefect server has no such deployment or run."""


class RunNotFinished(PrefectError):
    """A flow run did not end in time. The run goes on."""


class StackError(GridflowError):
    """The one-machine stack cannot start, run or stop. The message says why, and what to do."""


class SetupRefused(StackError):
    """The worker refused the settings, for example for this exchange. The message lists every problem."""
