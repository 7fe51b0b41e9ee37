"""What the exchanges share: one engine behind HTTP, faults, records; each words requests and answers its own way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.support.binance.app import Binance
from tests.support.binance.book import BookOrder
from tests.support.binance.engine import Engine
from tests.support.binance.errors import BinanceError
from tests.support.binance.faults import FaultKind
from tests.support.binance.record import Record

DAY_MS = 24 * 3600 * 1000


class Refusal(Exception):
    """One refusal in the exchange's own code and words; `of_order`: said of the order, not of the request."""

    def __init__(self, code: str, message: str, status: int = 200, *, of_order: bool = False) -> None:
        self.code, self.message, self.status, self.of_order = code, message, status, of_order
        super().__init__(f"{status} {code} {message}")


@dataclass(frozen=True)
class Call:
    """One request. `name` is the path without the API's prefix, `target` path and query as sent."""

    method: str
    name: str
    target: str
    query: dict[str, str]
    said: Mapping[str, Any]
    body: str
    headers: Mapping[str, str]
    now_ms: int

    @property
    def asks(self) -> dict[str, Any]:
        """Query and body together."""
        return {**self.query, **self.said}


@dataclass(frozen=True)
class Lie:
    """An answer to the next call of `name`, whatever it should have been; `done`: what was asked is done before."""

    name: str
    refusal: Refusal
    done: bool


class VenueEngine(Engine):
    """A post-only order that would take is accepted and cancelled at once, as OKX and Bybit do it."""

    def place(self, ask: Mapping[str, str]) -> BookOrder:
        """See Engine."""
        if ask.get("timeInForce") != "POST_ONLY":
            return super().place(ask)
        order, last = self._asked(ask), self.last(ask["symbol"])
        crosses = order.price >= last if order.side == "BUY" else order.price <= last
        self._check(order, last, crosses)
        self.orders[order.order_id] = self.open[order.order_id] = order
        self._turn(order, "NEW", "placed")
        if crosses:
            self._close(order, "CANCELED")
        return order


class Venue(Binance):
    """An exchange of its own protocol. Every answer goes through outage, faults, signature, endpoint and record."""

    prefix = ""

    def reset(self) -> None:
        """See Binance."""
        super().reset()
        self.engine = VenueEngine(self._config, self._candles, self.now_ms)
        self.lies: list[Lie] = []

    def own_id(self, client_id: str) -> str:
        """A client id as Gridflow writes it."""
        return client_id

    def record(self) -> Record:
        """See Binance; client ids as Gridflow writes them."""
        record = super().record()
        named = [row.model_copy(update={"client_id": self.own_id(row.client_id)}) for row in record.orders]
        return record.model_copy(update={"orders": tuple(named)})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request to the API."""
        body = await request.text()
        target = request.raw_path
        query = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        said = json.loads(body) if body else {}
        name = request.path.removeprefix(self.prefix)
        number, fault, lost = await self._arrive(
            request, name, {key: str(value) for key, value in {**query, **said}.items()}
        )
        if lost is not None:
            return lost
        call = Call(request.method, name, target, query, said, body, request.headers, self.now_ms())
        status, text = self._spoken(number, call)
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            return self._lost(request, number, f"{self.requests[number].outcome}, answer lost")
        if fault is not None and fault.kind is FaultKind.TRUNCATED:
            text = text[: len(text) // 2]
        return web.Response(text=text, status=status, content_type="application/json")

    def _spoken(self, number: int, call: Call) -> tuple[int, str]:
        """Do what is asked; HTTP status and body of the answer."""
        lie = next((one for one in self.lies if one.name == call.name), None)
        try:
            if lie is not None:
                self.lies.remove(lie)
            if lie is None or lie.done:
                answer = self.wrapped(self._answered(call), call)
            if lie is not None:
                raise lie.refusal
            self._note(number, outcome="200")
            return 200, json.dumps(answer)
        except Refusal as refusal:
            self._note(number, outcome=f"{refusal.status} {refusal.code}")
            return refusal.status, json.dumps(self.refused(refusal, call))

    def _answered(self, call: Call) -> Any:
        self.check(call)
        try:
            return self.answer(call)
        except BinanceError as error:
            raise self.translated(error) from error

    def check(self, call: Call) -> None:
        """Raise what the exchange answers to a request that is not rightly signed or not of this moment."""
        raise NotImplementedError

    def answer(self, call: Call) -> Any:
        """What the endpoint answers; raises Refusal, or BinanceError out of the engine."""
        raise NotImplementedError

    def translated(self, error: BinanceError) -> Refusal:
        """The engine's refusal in the exchange's code and words."""
        raise NotImplementedError

    def wrapped(self, result: Any, call: Call) -> Any:
        """An answer in its envelope."""
        raise NotImplementedError

    def refused(self, refusal: Refusal, call: Call) -> Any:
        """A refusal in its envelope."""
        raise NotImplementedError
