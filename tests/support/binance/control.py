"""Control endpoints: POST /control/… with JSON, answered as JSON."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from tests.support.binance.app import Binance
from tests.support.binance.faults import Injected, Plan

Handler = Callable[[web.Request], Awaitable[web.Response]]


def control_routes(binance: Binance) -> list[web.RouteDef]:
    """One route per thing a test may do."""
    return [web.post(f"/control/{name}", _handler(action, binance)) for name, action in _ACTIONS.items()]


def _handler(action: Callable[[Binance, dict[str, Any]], Any], binance: Binance) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        text = await request.text()
        try:
            said = action(binance, json.loads(text) if text else {})
        except (ValueError, KeyError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({} if said is None else said)

    return handle


def _inject(binance: Binance, said: dict[str, Any]) -> None:
    entry = Injected.model_validate(said)
    binance.faults.inject(entry.fault, entry.count, entry.skip)


def _drift(binance: Binance, said: dict[str, Any]) -> None:
    binance.drift_ms = int(said["ms"])


def _configure(binance: Binance, said: dict[str, Any]) -> None:
    binance.engine.config = binance.engine.config.changed(**said)


def _fill(binance: Binance, said: dict[str, Any]) -> None:
    binance.fill(said["client_id"], None if said.get("qty") is None else Decimal(said["qty"]))


def _transfer(binance: Binance, said: dict[str, Any]) -> None:
    binance.engine.transfer(said["asset"], Decimal(said["amount"]))


def _amend(binance: Binance, said: dict[str, Any]) -> None:
    changes = {name: Decimal(said[name]) for name in ("qty", "price") if said.get(name) is not None}
    binance.amend(said["client_id"], **changes)


_ACTIONS: dict[str, Callable[[Binance, dict[str, Any]], Any]] = {
    "advance": lambda binance, said: {"played": binance.engine.advance(int(said.get("count", 1)))},
    "inject": _inject,
    "plan": lambda binance, said: binance.faults.use(Plan.model_validate(said)),
    "clear": lambda binance, said: binance.clear_faults(),
    "outage": lambda binance, said: binance.start_outage(said.get("seconds")),
    "drift": _drift,
    "configure": _configure,
    "fill": _fill,
    "transfer": _transfer,
    "amend": _amend,
    "record": lambda binance, said: binance.record().model_dump(mode="json"),
    "reset": lambda binance, said: binance.reset(),
}
