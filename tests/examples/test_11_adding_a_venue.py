"""An exchange is one `Venue`: what it must say is required, all else has a default."""

from dataclasses import MISSING, fields
from typing import Any

from pydantic import SecretStr

from tasks.exchange.live_checks import live_problems
from tasks.exchange.models import OrderRequest
from tasks.exchange.venues.venue import Headers, LimitsLeft, RateLimits, Venue
from tasks.settings.model import ExchangeSettings


def validity(signed_at_ms: int, valid_ms: int) -> dict[str, Any]:
    """The params that make this exchange refuse an order request once it is stale."""
    return {"timestamp": signed_at_ms, "expires": signed_at_ms + valid_ms}


def limits_left(headers: Headers) -> LimitsLeft:
    """The exchange says in each response how many of 1200 requests are left."""
    left = headers.get("x-requests-left")
    return LimitsLeft(address=int(left) / 1200 if left else None)


# In the program this stands in `tasks/exchange/venues/acme.py`, and `registry.py` lists it. Nothing else knows it.
ACME = Venue(
    exchange_id="acme",
    validity=validity,
    refuses_stale_orders=True,  # a test must have shown it: without that no real order goes there
    credentials=("api_key", "secret", "password"),
    sandbox_hosts=frozenset({"sandbox.acme.example"}),
    rate_limits=RateLimits(address_window_ms=60_000, account_window_ms=1_000),
    encode_order_id=lambda text: text.replace("-", "Z"),
    decode_order_id=lambda text: text.replace("Z", "-"),
    limits_left=limits_left,
)


def test_what_a_venue_must_give() -> None:
    """The table in `tasks/exchange/venues/venue.py` says what each field is."""
    required = {one.name for one in fields(Venue) if one.default is MISSING and one.default_factory is MISSING}
    assert required == {
        "exchange_id",
        "validity",
        "refuses_stale_orders",
        "credentials",
        "sandbox_hosts",
        "rate_limits",
    }


def test_a_stale_request_is_refused_by_the_exchange() -> None:
    """A frozen worker may send late. The request says until when it is good, counted from the journal entry."""
    assert ACME.validity(1_000_000, 5_000) == {"timestamp": 1_000_000, "expires": 1_005_000}
    assert OrderRequest.model_fields["signed_at_ms"].is_required()


def test_an_order_id_comes_back_as_it_went() -> None:
    """Our ids have hyphens, and this exchange takes letters and digits only."""
    sent = ACME.encode_order_id("gf99f-81fdc-13-b-0")
    assert sent.isalnum()
    assert ACME.decode_order_id(sent) == "gf99f-81fdc-13-b-0"


def test_its_limits_correct_the_shared_budget() -> None:
    """What a response says is left counts for every worker of the account."""
    assert ACME.limits_left({"x-requests-left": "300"}) == LimitsLeft(address=0.25)
    assert ACME.limits_left({}) == LimitsLeft()


def test_an_exchange_without_a_venue_is_for_paper_only() -> None:
    """Real orders are refused before anything is asked, with the exchanges that take them."""
    kraken = ExchangeSettings(id="kraken", api_key=SecretStr("k"), secret=SecretStr("s"))
    problem = live_problems(kraken)[0]
    assert problem.field == "exchange.id"
    assert "real orders go to binance, bybit, okx" in problem.remedy
