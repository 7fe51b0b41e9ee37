"""Running the exchange: inside a test's event loop, or as a process of its own that outlives killed workers."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import httpx
from aiohttp import web
from pydantic import SecretStr

from tasks.exchange.models import Candle
from tasks.settings.model import ExchangeSettings
from tests.support.binance.app import Binance
from tests.support.binance.config import API_KEY, SECRET, Config
from tests.support.binance.control import control_routes
from tests.support.binance.faults import Chance, Fault, Plan
from tests.support.binance.record import Record
from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[3]


class Exchange(Protocol):
    """What a test does with the exchange, in this process or another."""

    @property
    def url(self) -> str:
        """Base URL."""

    def settings(self, **changes: Any) -> ExchangeSettings:
        """The settings that point Gridflow at it, with live orders on."""

    async def advance(self, count: int = 1) -> int:
        """Move every market by `count` candles; returns how many candles were played."""

    async def inject(self, fault: Fault, count: int = 1, skip: int = 0) -> None:
        """Let the next `count` fitting requests after `skip` of them meet `fault`."""

    async def use_plan(self, seed: int, *chances: Chance) -> None:
        """Start a seeded random plan of faults."""

    async def clear_faults(self) -> None:
        """No faults, bans, drift or outage from now on."""

    async def outage(self, seconds: float | None = None) -> None:
        """Close every connection, for a while or until `clear_faults`."""

    async def drift(self, ms: int) -> None:
        """Set the exchange's clock ahead (or behind)."""

    async def configure(self, **changes: Any) -> None:
        """Change fields of `Config` while it runs."""

    async def fill(self, client_id: str, qty: Decimal | None = None) -> None:
        """Fill an open order, or a part of it, now."""

    async def transfer(self, asset: str, amount: Decimal) -> None:
        """Deposit an amount, or withdraw it where it is below 0."""

    async def amend(self, client_id: str, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """Change amount or price of an open order by hand."""

    async def record(self) -> Record:
        """Everything the exchange has seen."""

    async def reset(self) -> None:
        """Start anew."""


def exchange_settings(url: str, **changes: Any) -> ExchangeSettings:
    """Settings for the exchange at `url`."""
    fields = {"id": "binance", "api_url": url, "live": True, "api_key": SecretStr(API_KEY), "secret": SecretStr(SECRET)}
    return ExchangeSettings(**(fields | changes))


class LocalExchange:
    """The exchange in this process; `binance` is the thing itself, for whoever wants to look inside."""

    def __init__(self, binance: Binance, port: int) -> None:
        self.binance, self.url = binance, f"http://127.0.0.1:{port}"

    def settings(self, **changes: Any) -> ExchangeSettings:
        """See `Exchange`."""
        return exchange_settings(self.url, **changes)

    async def advance(self, count: int = 1) -> int:
        """See `Exchange`."""
        return self.binance.engine.advance(count)

    async def inject(self, fault: Fault, count: int = 1, skip: int = 0) -> None:
        """See `Exchange`."""
        self.binance.faults.inject(fault, count, skip)

    async def use_plan(self, seed: int, *chances: Chance) -> None:
        """See `Exchange`."""
        self.binance.faults.use(Plan(seed=seed, chances=chances))

    async def clear_faults(self) -> None:
        """See `Exchange`."""
        self.binance.clear_faults()

    async def outage(self, seconds: float | None = None) -> None:
        """See `Exchange`."""
        self.binance.start_outage(seconds)

    async def drift(self, ms: int) -> None:
        """See `Exchange`."""
        self.binance.drift_ms = ms

    async def configure(self, **changes: Any) -> None:
        """See `Exchange`."""
        self.binance.engine.config = self.binance.engine.config.changed(**changes)

    async def delist(self, symbol: str) -> None:
        """Take `BTC/USDT` off the list and cancel its orders, as Binance does."""
        self.binance.engine.delist(symbol)

    async def fill(self, client_id: str, qty: Decimal | None = None) -> None:
        """See `Exchange`."""
        self.binance.fill(client_id, qty)

    async def transfer(self, asset: str, amount: Decimal) -> None:
        """See `Exchange`."""
        self.binance.engine.transfer(asset, amount)

    async def amend(self, client_id: str, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """See `Exchange`."""
        self.binance.amend(client_id, qty, price)

    async def record(self) -> Record:
        """See `Exchange`."""
        return self.binance.record()

    async def reset(self) -> None:
        """See `Exchange`."""
        self.binance.reset()


class RemoteExchange:
    """The exchange in another process, moved through its control endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def _call(self, name: str, **said: Any) -> Any:
        async with httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as client:
            response = await client.post(f"/control/{name}", json=said)
        response.raise_for_status()
        return response.json()

    def settings(self, **changes: Any) -> ExchangeSettings:
        """See `Exchange`."""
        return exchange_settings(self.url, **changes)

    async def advance(self, count: int = 1) -> int:
        """See `Exchange`."""
        return int((await self._call("advance", count=count))["played"])

    async def inject(self, fault: Fault, count: int = 1, skip: int = 0) -> None:
        """See `Exchange`."""
        await self._call("inject", fault=fault.model_dump(mode="json"), count=count, skip=skip)

    async def use_plan(self, seed: int, *chances: Chance) -> None:
        """See `Exchange`."""
        await self._call("plan", seed=seed, chances=[chance.model_dump(mode="json") for chance in chances])

    async def clear_faults(self) -> None:
        """See `Exchange`."""
        await self._call("clear")

    async def outage(self, seconds: float | None = None) -> None:
        """See `Exchange`."""
        await self._call("outage", seconds=seconds)

    async def drift(self, ms: int) -> None:
        """See `Exchange`."""
        await self._call("drift", ms=ms)

    async def configure(self, **changes: Any) -> None:
        """See `Exchange`."""
        await self._call("configure", **_plain(changes))

    async def fill(self, client_id: str, qty: Decimal | None = None) -> None:
        """See `Exchange`."""
        await self._call("fill", client_id=client_id, qty=None if qty is None else str(qty))

    async def transfer(self, asset: str, amount: Decimal) -> None:
        """See `Exchange`."""
        await self._call("transfer", asset=asset, amount=str(amount))

    async def amend(self, client_id: str, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """See `Exchange`."""
        await self._call("amend", client_id=client_id, **_plain({"qty": qty, "price": price}))

    async def record(self) -> Record:
        """See `Exchange`."""
        return Record.model_validate(await self._call("record"))

    async def reset(self) -> None:
        """See `Exchange`."""
        await self._call("reset")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(held) for name, held in value.items()}
    return str(value) if isinstance(value, Decimal) else value


@asynccontextmanager
async def serve(binance: Binance, port: int = 0, *, socket: Path | None = None) -> AsyncIterator[LocalExchange]:
    """Serve on a loopback port (0: a free one), or on a Unix socket, in this event loop; control endpoints included."""
    app = web.Application()
    app.add_routes(control_routes(binance))
    app.router.add_route("*", "/{path:.*}", binance.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.UnixSite(runner, str(socket)) if socket else web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield LocalExchange(binance, 1 if socket else int(runner.addresses[0][1]))
    finally:
        await runner.cleanup()


@asynccontextmanager
async def local_exchange(
    candles: Mapping[str, Sequence[Candle]], config: Config | None = None
) -> AsyncIterator[LocalExchange]:
    """The exchange in this event loop over `candles` by symbol."""
    async with serve(Binance(candles, config)) as exchange:
        yield exchange


@asynccontextmanager
async def exchange_process(folder: Path, config: Config | None = None) -> AsyncIterator[RemoteExchange]:
    """The exchange as a process of its own, over the candle files in `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.binance", "--port", str(port), "--candles", str(folder)]
    command += ["--config", (config or Config()).model_dump_json()]
    process = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - starts at once; nothing else runs in this loop yet
    try:
        exchange = RemoteExchange(f"http://127.0.0.1:{port}")
        await _ready(exchange, process)
        yield exchange
    finally:
        process.terminate()
        process.wait(10)


async def _ready(exchange: RemoteExchange, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            await exchange.clear_faults()
        except httpx.TransportError:
            await asyncio.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the exchange ended with code {process.returncode}")
