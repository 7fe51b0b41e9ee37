"""The HTTP side: every request goes through outage, faults, weights, signature, endpoint and record."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import parse_qsl

from aiohttp import web

from tasks.exchange.models import Candle
from tests.support.binance import auth
from tests.support.binance.config import Config
from tests.support.binance.endpoints import SIGNED, Ask, answer
from tests.support.binance.engine import Engine
from tests.support.binance.errors import BinanceError
from tests.support.binance.faults import Fault, FaultKind, Faults
from tests.support.binance.limits import Limits, too_much, weight_of
from tests.support.binance.record import FiredFault, OrderRow, Record, RequestRow, TradeRow

HTML = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"
LOST_BEFORE = (FaultKind.DROP_BEFORE, FaultKind.OUTAGE)
HTML_BEFORE = (FaultKind.ERROR_BEFORE, FaultKind.HTML_BEFORE)


def real_ms() -> int:
    """This machine's time in ms since the epoch."""
    return time.time_ns() // 1_000_000


class Binance:
    """The exchange behind HTTP: engine, faults, limits, record. `drift_ms` is how far it is ahead of `clock` (ms)."""

    def __init__(
        self,
        candles: Mapping[str, Sequence[Candle]],
        config: Config | None = None,
        clock: Callable[[], int] = real_ms,
    ) -> None:
        self._candles = {symbol: list(rows) for symbol, rows in candles.items()}
        self._clock = clock
        self.drift_ms = 0
        self._outage_until_ms = 0.0
        self._config = config or Config()
        self.reset()

    def reset(self) -> None:
        """Start anew: first configuration, no orders, no faults, the market at its first candle."""
        self.engine = Engine(self._config, self._candles, self.now_ms)
        self.faults, self.limits = Faults(), Limits()
        self.requests: list[RequestRow] = []
        self.fired: list[FiredFault] = []
        self._seen: list[tuple[int, int]] = []  # (time, last event) before each request
        self.drift_ms = 0
        self.end_outage()

    def now_ms(self) -> int:
        """The exchange's time."""
        return self._clock() + self.drift_ms

    def start_outage(self, seconds: float | None = None) -> None:
        """Close every connection from now on, for a while or until `end_outage`."""
        self._outage_until_ms = math.inf if seconds is None else self._clock() + seconds * 1000

    def end_outage(self) -> None:
        """Answer again."""
        self._outage_until_ms = 0.0

    def clear_faults(self) -> None:
        """No faults, bans, drift or outage from now on."""
        self.faults.clear()
        self.limits.lift()
        self.drift_ms = 0
        self.end_outage()

    def fill(self, client_id: str, qty: Decimal | None = None) -> None:
        """Fill the open order with this client id, or a part of it. Raises KeyError where there is none."""
        self.engine.fill(self._open_order(client_id), qty)

    def amend(self, client_id: str, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """Change amount or price of the open order with this client id. Raises KeyError where there is none."""
        self.engine.amend(self._open_order(client_id), qty, price)

    def _open_order(self, client_id: str) -> int:
        ids = [order.order_id for order in self.engine.open.values() if order.client_id == client_id]
        if not ids:
            raise KeyError(f"no open order {client_id}")
        return ids[0]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request to the API."""
        body = await request.text()
        params = dict(parse_qsl(f"{request.rel_url.raw_query_string}&{body}", keep_blank_values=True))
        kept = {name: value for name, value in params.items() if name != "signature"}
        number, fault, lost = await self._arrive(request, request.path, kept)
        if lost is not None:
            return lost
        payload = f"{request.raw_path.partition('?')[2]}{body}"
        response = self._respond(number, request.headers.get("X-MBX-APIKEY"), payload, fault)
        if fault is not None and fault.kind is FaultKind.DELAY_AFTER:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind is FaultKind.DROP_AFTER:
            return self._lost(request, number, f"{self.requests[number].outcome}, answer lost")
        return response

    async def _arrive(
        self, request: web.Request, path: str, params: dict[str, str]
    ) -> tuple[int, Fault | None, web.Response | None]:
        """Write the request down and let it meet its fault: (its number, the fault, the end of it if it is lost)."""
        number, now = len(self.requests), self.now_ms()
        row = RequestRow(
            number=number,
            at_ms=now,
            method=request.method,
            path=request.path,
            params=params,
            weight=0,
            used_weight=self.limits.used,
            outcome="pending",
        )
        self.requests.append(row)
        self._seen.append((now, self.engine.seq))
        if self._clock() < self._outage_until_ms:
            return number, None, self._lost(request, number, "outage")
        fault = self.faults.pick(request.method, path, params)
        if fault is None:
            return number, None, None
        self._fire(number, fault)
        if fault.kind in LOST_BEFORE:
            return number, fault, self._lost(request, number, "lost before")
        if fault.kind is FaultKind.DELAY_BEFORE:
            await asyncio.sleep(fault.seconds)
        return number, fault, None

    def _fire(self, number: int, fault: Fault) -> None:
        row = self.requests[number]
        self._note(number, fault=fault.kind.value)
        self.fired.append(
            FiredFault(request=number, at_ms=row.at_ms, kind=fault.kind.value, method=row.method, path=row.path)
        )
        if fault.kind is FaultKind.OUTAGE:
            self.start_outage(fault.seconds or None)
        if fault.kind is FaultKind.BAN:
            self.limits.ban(fault.seconds or self.engine.config.ban_seconds, self.now_ms())

    def _note(self, number: int, **changes: object) -> None:
        self.requests[number] = self.requests[number].model_copy(update=changes)

    def _lost(self, request: web.Request, number: int, outcome: str) -> web.Response:
        self._note(number, outcome=outcome)
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    def _respond(self, number: int, key: str | None, payload: str, fault: Fault | None) -> web.Response:
        """Do what is asked and word the answer, spoilt as the fault says."""
        status, headers = 200, dict[str, str]()
        try:
            text = json.dumps(self._answer(number, key, payload, fault))
            self._note(number, outcome="200")
        except BinanceError as error:
            status, headers = error.status, error.headers
            text = json.dumps({"code": error.code, "msg": error.message})
            self._note(number, outcome=f"{status} {error.code}")
        kind, content = (fault.kind if fault else None), "application/json"
        if kind in (FaultKind.HTML_AFTER, FaultKind.ERROR_AFTER, *HTML_BEFORE):
            text, content, status = HTML, "text/html", 200
            if fault is not None and kind in (FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER):
                status = fault.status
        if kind is FaultKind.TRUNCATED:
            text = text[: len(text) // 2]
        return web.Response(text=text, status=status, content_type=content, headers=self.limits.headers() | headers)

    def _answer(self, number: int, key: str | None, payload: str, fault: Fault | None) -> object:
        row, config, kind = self.requests[number], self.engine.config, fault.kind if fault else None
        name = row.path.removeprefix("/api/v3/").removeprefix("/sapi/v1/")
        drift = fault.ms if fault is not None and kind is FaultKind.CLOCK_DRIFT else 0
        weight = weight_of(row.method, name, row.params)
        try:
            self.limits.take(weight, self.now_ms(), config)
        finally:
            self._note(number, weight=weight, used_weight=self.limits.used)
        if fault is not None and kind is FaultKind.RATE_LIMIT:
            raise too_much(config.weight_limit, fault.seconds)
        if kind in HTML_BEFORE:
            return None
        if name in SIGNED:
            auth.check_signed(key, payload, row.params, self.now_ms() + drift, config)
        if row.method == "POST" and name == "order":
            self.limits.take_order(self.now_ms(), config)
        as_of = self._as_of(number, fault) if fault is not None and kind is FaultKind.STALE else None
        ask = Ask(row.method, name, row.params, self.now_ms(), as_of)
        if kind is FaultKind.FILL_ON_CANCEL:
            self._fill_first(ask)
        result = answer(self.engine, ask)
        if isinstance(result, list) and kind is FaultKind.DUPLICATE_TRADES:
            return [row for row in result for _ in range(2)]
        if isinstance(result, list) and kind is FaultKind.SHUFFLED_TRADES:
            return result[::2][::-1] + result[1::2]
        return result

    def _as_of(self, number: int, fault: Fault) -> int:
        """The event up to which a stale read looks: `requests` requests ago, or `seconds` ago."""
        if fault.requests:
            return self._seen[max(0, number - fault.requests)][1]
        oldest = self.now_ms() - int(fault.seconds * 1000)
        return next((event.seq for event in reversed(self.engine.events) if event.at_ms <= oldest), 0)

    def _fill_first(self, ask: Ask) -> None:
        order = self.engine.find(ask.symbol(self.engine), ask.params)
        if order.now.open:
            self.engine.fill(order.order_id)

    def record(self) -> Record:
        """Everything up to now."""
        engine = self.engine
        ids: dict[int, list[int]] = {}
        for trade in engine.trades:
            ids.setdefault(trade.order_id, []).append(trade.trade_id)
        orders = tuple(
            OrderRow(
                order_id=order.order_id,
                client_id=order.client_id,
                symbol=order.symbol,
                side=order.side,
                type=order.type,
                price=order.price,
                qty=order.qty,
                status=order.now.status,
                executed=order.now.executed,
                spent=order.now.spent,
                placed_ms=order.states[0].at_ms,
                updated_ms=order.now.at_ms,
                trade_ids=tuple(ids.get(order.order_id, ())),
            )
            for order in engine.orders.values()
        )
        fields = TradeRow.model_fields
        return Record(
            orders=orders,
            trades=tuple(TradeRow(**{name: getattr(trade, name) for name in fields}) for trade in engine.trades),
            events=tuple(engine.events),
            requests=tuple(self.requests),
            faults=tuple(self.fired),
            totals=engine.totals[-1][1],
            locked={asset: locked for asset, (_, locked) in engine.balances().items()},
            highest_weight=self.limits.highest,
            played=dict(engine.done),
        )
