"""Every error Gridflow raises on purpose.

GridflowError
├── ConfigError            settings that cannot run; carries every problem at once
├── MarketDataError        a candle file that cannot be read; carries file, line, fault
├── ExchangeError          what the exchange answered or did not answer
│   └── ExchangeUnavailable a read that failed and may be tried again
├── LeaseLost              another worker ticks this symbol now; stop touching it
├── StateError             Redis holds something this version cannot use
│   └── RedisRestarted     it restarted, failed over or went back, and the symbols are still being compared
├── PrefectError           the Prefect server cannot do what was asked
│   ├── PrefectUnavailable it does not answer, or what answers is not Prefect; carries the URL and the cause
│   ├── PrefectNotFound    it has no such deployment or run
│   └── RunNotFinished     a run did not end in time; it goes on
└── StackError             the one-machine stack cannot start, run or stop
    └── SetupRefused       the worker's own ConfigError, passed on to the stack that started it
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class GridflowError(Exception):
    """Root of the tree."""


@dataclass(frozen=True)
class Problem:
    """One wrong setting: where it is, what it holds, the rule it breaks, how to correct it."""

    field: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.rule}. {self.remedy}"


class ConfigError(GridflowError):
    """Settings are wrong; `problems` holds all that was found, nothing has been started."""

    def __init__(self, problems: list[Problem], source: str) -> None:
        self.problems = problems
        self.source = source
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem(s) in {source}:\n{lines}")


class MarketDataError(GridflowError):
    """A candle file is malformed; names the file, the line and the fault.

    Line 1 is the header; in a parquet file, which has none, row 1 is the first candle. 0: the file as a whole.
    """

    def __init__(self, file: Path, line: int, fault: str) -> None:
        self.file, self.line, self.fault = file, line, fault
        place = "row" if file.suffix == ".parquet" else "line"
        super().__init__(f"{file}, {place} {line}: {fault}" if line else f"{file}: {fault}")


class ExchangeError(GridflowError):
    """Root of what can go wrong with an exchange."""


class RejectReason(StrEnum):
    """Why an exchange clearly refused an order."""

    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    FILTER = "FILTER"
    WOULD_TAKE = "WOULD_TAKE"
    EXPIRED_REQUEST = "EXPIRED_REQUEST"
    RATE_LIMITED = "RATE_LIMITED"  # refused by our own rate budget: never sent
    OTHER = "OTHER"


class ExchangeUnavailable(ExchangeError):
    """A read failed (network, overload, maintenance); nothing was changed by it."""


class LeaseLost(GridflowError):
    """A newer lease exists for the symbol: this holder's writes are refused."""

    def __init__(self, symbol: str, fence: int) -> None:
        self.symbol, self.fence = symbol, fence
        super().__init__(f"{symbol}: lease with fence {fence} is no longer current")


class StateError(GridflowError):
    """Redis holds state that does not fit; the message names it and what to do."""


class RedisRestarted(StateError):
    """Redis is another server than the one that the books were last compared with the exchange on."""

    def __init__(self, account: str) -> None:
        self.account = account
        super().__init__(
            f"account {account!r}: Redis went back or restarted; the symbols are being compared with the exchange. "
            "The next tick goes on once that is done"
        )


class PrefectError(GridflowError):
    """The Prefect server cannot do what was asked; says what to check."""


class PrefectUnavailable(PrefectError):
    """The Prefect server does not answer, or what answers is not a Prefect server; `why` is the cause in words."""

    def __init__(self, api: str, why: str) -> None:
        self.api, self.why = api, why
        super().__init__(
            f"The Prefect server {api} does not answer as it should ({why}). "
            "Check that it runs and that PREFECT_API_URL names it. Trading does not depend on it"
        )


class PrefectNotFound(PrefectError):
    """The Prefect server has no such deployment or run."""


class RunNotFinished(PrefectError):
    """A flow run did not end in time. It goes on."""


class StackError(GridflowError):
    """The one-machine stack cannot do what was asked; says why and what to do."""


class SetupRefused(StackError):
    """The worker found that the settings cannot run on this exchange now; the text names every problem."""
