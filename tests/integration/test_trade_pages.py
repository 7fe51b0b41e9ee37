"""Reading trades page by page loses none, however many share a millisecond."""

from datetime import UTC, datetime
from decimal import Decimal

from tasks.exchange.client import CcxtClient
from tests.support.binance.config import Config
from tests.support.binance.desk import real_ccxt
from tests.support.binance.server import local_exchange
from tests.support.desk import BTC, walk


async def test_trades_of_one_millisecond(monkeypatch: object) -> None:
    """2,500 trades at one moment, asked for from the beginning and from their time: all of them, in few calls."""
    moment = datetime.now(UTC)
    async with local_exchange({BTC: walk(5)}, Config(fill_parts=2500)) as server:
        server.binance.engine.clock = lambda: int(moment.timestamp() * 1000)
        exchange = real_ccxt(server)
        client = CcxtClient(exchange)
        await exchange.create_order(BTC, "market", "buy", 0.025)
        for since in (0, int(moment.timestamp() * 1000) - 1000):
            before = len((await server.record()).requests)
            trades = await client.trades(BTC, since)
            assert len({trade.trade_id for trade in trades}) == 2500
            assert sum((trade.qty for trade in trades), Decimal(0)) == Decimal("0.025")
            assert len((await server.record()).requests) - before <= 4
        await client.close()
