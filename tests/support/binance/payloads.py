"""What the exchange answers, in Binance's field names; numbers as text."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.support.binance.book import BookOrder, BookTrade, OrderState
from tests.support.binance.config import Config, SymbolRules
from tests.support.binance.engine import Engine

Json = Any


def amount(value: Decimal) -> str:
    """Eight decimals, as Binance writes them."""
    return f"{value:.8f}"


def order(found: BookOrder, state: OrderState) -> Json:
    """An order as queries show it."""
    return {
        "symbol": found.symbol,
        "orderId": found.order_id,
        "orderListId": -1,
        "clientOrderId": found.client_id,
        "price": amount(Decimal(0) if found.type == "MARKET" else state.price),
        "origQty": amount(state.qty),
        "executedQty": amount(state.executed),
        "origQuoteOrderQty": amount(Decimal(0)),
        "cummulativeQuoteQty": amount(state.spent),
        "status": state.status,
        "timeInForce": found.time_in_force,
        "type": found.type,
        "side": found.side,
        "stopPrice": amount(Decimal(0)),
        "icebergQty": amount(Decimal(0)),
        "time": found.states[0].at_ms,
        "updateTime": state.at_ms,
        "isWorking": True,
        "workingTime": found.states[0].at_ms,
        "selfTradePreventionMode": "NONE",
    }


def placed(found: BookOrder, trades: Iterable[BookTrade], answer: str) -> Json:
    """The answer to a new order: ACK, RESULT or FULL."""
    ack = {
        "symbol": found.symbol,
        "orderId": found.order_id,
        "orderListId": -1,
        "clientOrderId": found.client_id,
        "transactTime": found.now.at_ms,
    }
    if answer == "ACK":
        return ack
    whole = order(found, found.now)
    result = ack | {name: whole[name] for name in whole if name not in ("time", "updateTime", "isWorking")}
    if answer == "FULL":
        result["fills"] = [
            {
                "price": amount(one.price),
                "qty": amount(one.qty),
                "commission": amount(one.fee),
                "commissionAsset": one.fee_asset,
                "tradeId": one.trade_id,
            }
            for one in trades
        ]
    return result


def cancelled(found: BookOrder) -> Json:
    """The answer to a cancel; the cancel has a client id of its own."""
    whole = order(found, found.now)
    whole |= {"origClientOrderId": found.client_id, "clientOrderId": f"cancel-{found.order_id}"}
    whole["transactTime"] = found.now.at_ms
    return {name: value for name, value in whole.items() if name not in ("time", "updateTime", "isWorking")}


def trade(done: BookTrade) -> Json:
    """One row of myTrades."""
    return {
        "symbol": done.symbol,
        "id": done.trade_id,
        "orderId": done.order_id,
        "orderListId": -1,
        "price": amount(done.price),
        "qty": amount(done.qty),
        "quoteQty": amount(done.price * done.qty),
        "commission": amount(done.fee),
        "commissionAsset": done.fee_asset,
        "time": done.at_ms,
        "isBuyer": done.side == "BUY",
        "isMaker": done.maker,
        "isBestMatch": True,
    }


def account(balances: Mapping[str, tuple[Decimal, Decimal]], config: Config, now_ms: int) -> Json:
    """Balances, free and locked."""
    return {
        "makerCommission": int(config.maker_fee * 10_000),
        "takerCommission": int(config.taker_fee * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": commission(config),
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": amount(free), "locked": amount(locked)}
            for asset, (free, locked) in balances.items()
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def commission(config: Config) -> Json:
    """Commission rates."""
    return {
        "maker": amount(config.maker_fee),
        "taker": amount(config.taker_fee),
        "buyer": amount(Decimal(0)),
        "seller": amount(Decimal(0)),
    }


def exchange_info(engine: Engine, now_ms: int) -> Json:
    """Symbols and their filters."""
    listed = [rules for rules in engine.config.symbols.values() if rules.id in engine.candles]
    limit = {"interval": "MINUTE", "intervalNum": 1, "limit": engine.config.weight_limit}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", **limit}],
        "exchangeFilters": [],
        "symbols": [_symbol(rules) for rules in listed],
    }


def _symbol(rules: SymbolRules) -> Json:
    return {
        "symbol": rules.id,
        "status": "TRADING",
        "baseAsset": rules.base,
        "baseAssetPrecision": 8,
        "quoteAsset": rules.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": amount(rules.tick),
                "maxPrice": "1000000.00000000",
                "tickSize": amount(rules.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": amount(rules.min_qty),
                "maxQty": amount(rules.max_qty),
                "stepSize": amount(rules.step),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": amount(rules.min_notional),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": str(rules.percent_up),
                "bidMultiplierDown": str(rules.percent_down),
                "askMultiplierUp": str(rules.percent_up),
                "askMultiplierDown": str(rules.percent_down),
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": rules.max_orders},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }
