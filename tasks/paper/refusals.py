"""Why the paper exchange refuses an order: Binance's codes and texts, ccxt's errors."""

from dataclasses import dataclass

from ccxt.base import errors

from tasks.paper.scripts import PlaceCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A clear no: nothing was placed."""

    kind: type[Exception]
    code: int
    message: str

    def error(self) -> Exception:
        """The ccxt error that a single order's caller gets."""
        return self.kind(f'paper {{"code":{self.code},"msg":"{self.message}"}}')


BY_CODE = {
    PlaceCode.DUPLICATE: Refusal(errors.DuplicateOrderId, -2010, "Duplicate order sent."),
    PlaceCode.INSUFFICIENT: Refusal(
        errors.InsufficientFunds, -2010, "Account has insufficient balance for requested action."
    ),
    PlaceCode.EXPIRED: Refusal(errors.InvalidNonce, -1021, "Timestamp for this request is outside of the recvWindow."),
    PlaceCode.EARLY: Refusal(
        errors.InvalidNonce, -1021, "Timestamp for this request was 1000ms ahead of the server's time."
    ),
    PlaceCode.WOULD_TAKE: Refusal(errors.OrderImmediatelyFillable, -2010, "Order would immediately match and take."),
}


def filter_refusal(name: str) -> Refusal:
    """An order that breaks filter `name`."""
    return Refusal(errors.InvalidOrder, -1013, f"Filter failure: {name}")
