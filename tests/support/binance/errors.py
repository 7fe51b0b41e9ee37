"""Binance's refusals: HTTP status, code and message as the exchange words them."""


class BinanceError(Exception):
    """One refusal; becomes `{"code": …, "msg": …}`."""

    def __init__(self, code: int, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        self.code, self.message, self.status = code, message, status
        self.headers = headers or {}
        super().__init__(f"{status} {code} {message}")


def failed_filter(name: str) -> BinanceError:
    """An order outside one of the symbol's filters."""
    return BinanceError(-1013, f"Filter failure: {name}")


def missing(name: str) -> BinanceError:
    """A parameter that must be there."""
    return BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def bad_symbol() -> BinanceError:
    """A symbol that is not listed."""
    return BinanceError(-1121, "Invalid symbol.")


def rejected(message: str) -> BinanceError:
    """A new order that the matching engine refuses."""
    return BinanceError(-2010, message)


def no_balance() -> BinanceError:
    """Not enough free balance."""
    return rejected("Account has insufficient balance for requested action.")


def no_such_order() -> BinanceError:
    """A query for an order that is not there."""
    return BinanceError(-2013, "Order does not exist.")


def archived() -> BinanceError:
    """A query for an order that ended unfilled long ago."""
    text = "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
    return BinanceError(-2026, text)


def nothing_to_cancel() -> BinanceError:
    """A cancel of an order that is not open."""
    return BinanceError(-2011, "Unknown order sent.")
