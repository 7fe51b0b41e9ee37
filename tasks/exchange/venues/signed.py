"""Methods that ccxt clients share: no answer is guessed, and at several venues the intent's time is signed.

`connect.client_class` joins a venue's methods with ccxt's class. They import ccxt only when they are called.
"""

from collections.abc import Mapping
from typing import Any

CcxtClientBase: Any = object  # stands for ccxt's Exchange, whose methods are there once the classes are joined
Params = dict[str, Any]
Answer = dict[str, Any]


def ccxt_error(name: str) -> type[Exception]:
    """One of ccxt's error classes by its name."""
    import ccxt

    found: type[Exception] = getattr(ccxt, name)
    return found


class WholeAnswers(CcxtClientBase):
    """A part of every ccxt client class: a truncated answer is an error. ccxt would read an empty list from some."""

    def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any) -> Any:
        """ccxt's check of an answer. Raises BadResponse too, where a successful answer is no JSON object or list."""
        answer = rest[0] if rest else None
        if 200 <= code < 300 and not isinstance(answer, dict | list):
            raise ccxt_error("BadResponse")(f"{self.id} {method} {url.partition('?')[0]}: the answer is not JSON")
        return super().handle_errors(code, reason, url, method, headers, body, *rest)


class SignedRequests(CcxtClientBase):
    """A request whose params name a time is signed with that time, not with the moment of signing.

    `error_codes`: codes that ccxt does not know or reads otherwise, with the ccxt error each one means.
    `own_description`: further parts of ccxt's description of the exchange.
    """

    error_codes: Mapping[str, str] = {}
    own_description: Mapping[str, Any] = {}
    _signed_at: int | None = None

    def describe(self) -> Any:
        """ccxt's description of the exchange with the venue's own parts."""
        exact = {code: ccxt_error(name) for code, name in self.error_codes.items()}
        own = {"has": {"fetchCurrencies": False}, "exceptions": {"exact": exact}}
        return self.deep_extend(super().describe(), own, dict(self.own_description))

    def nonce(self) -> int:
        """The time that is signed: the exchange's now, unless a request brings its own."""
        return int(super().nonce()) if self._signed_at is None else self._signed_at

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> Answer:
        """ccxt's request, signed at params["timestamp"] where there is one."""
        kept = params if isinstance(params, list) else dict(params or {})
        stamp = kept.pop("timestamp", None) if isinstance(kept, dict) else None
        self._signed_at = None if stamp is None else int(stamp)
        try:
            request: Answer = super().sign(path, api, method, kept)
        finally:
            self._signed_at = None
        return request
