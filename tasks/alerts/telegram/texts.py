"""The fixed texts of the bot, in English and Chinese. Pure."""

from collections.abc import Mapping

_EN: Mapping[str, str] = {
    "refresh": "Refresh",
    "yes": "Yes, do it",
    "no": "No",
    "ask": "{command}: are you sure? The buttons work for a minute.",
    "expired": "This question has expired, or is of another chat. Send the command again.",
    "dropped": "Nothing was done.",
    "old": "{command} is {seconds} s old and was not carried out. Send it again.",
    "unknown": "I do not know that. /help lists the commands.",
    "needs_symbol": "Name a symbol: /{command} BTC/USDT",
    "no_symbol": "{symbol} is not traded. Traded are: {symbols}",
    "failed": "{command} failed: {why}",
    "pause": "Paused: {what}. No new buys; resting orders stay.",
    "resume": "Resumed: {what}.",
    "stop": "Stopped. Workers cancel the open orders and place none until /resume.",
    "liquidate": "{what} sells what it holds at the market's price.",
    "rebalance": "A rebalance has begun: run {what}.",
    "all": "all symbols",
    "no_history": "The history does not answer: {why}",
    "no_trades": "No trades yet.",
    "no_idle": "{symbol}: every cell has an order.",
    "no_log": "No warnings in the log.",
    "help": (
        "/status /profit /daily /weekly /monthly\n/balance /allocation /trades /log\n/grid SYMBOL, /why SYMBOL: its "
        "cells, and why some are idle\n/pause [SYMBOL]: no new buys\n/resume [SYMBOL]: end a pause or a stop\n"
        "/rebalance: share the pot now\n/stop: cancel all orders, place none\n/liquidate SYMBOL: sell what a symbol "
        "that left the settings holds"
    ),
}
_ZH: Mapping[str, str] = {
    "refresh": "刷新",
    "yes": "确认",
    "no": "取消",
    "ask": "{command}：确认执行吗？按钮一分钟内有效。",
    "expired": "该确认已过期，或属于其他会话，请重新发送命令。",
    "dropped": "未执行任何操作。",
    "old": "{command} 已过去 {seconds} 秒，未执行，请重新发送。",
    "unknown": "无法识别，/help 查看命令。",
    "needs_symbol": "请指定交易对：/{command} BTC/USDT",
    "no_symbol": "{symbol} 未在交易，当前交易：{symbols}",
    "failed": "{command} 失败：{why}",
    "pause": "已暂停：{what}。不再新买，现有挂单保留。",
    "resume": "已恢复：{what}。",
    "stop": "已停止。挂单将被撤销，/resume 之前不再下单。",
    "liquidate": "{what} 将按市价卖出持仓。",
    "rebalance": "已开始重新平衡：运行 {what}。",
    "all": "全部交易对",
    "no_history": "历史数据库无响应：{why}",
    "no_trades": "暂无成交。",
    "no_idle": "{symbol}：所有网格均有挂单。",
    "no_log": "日志中没有警告。",
    "help": (
        "/status /profit /daily /weekly /monthly\n/balance /allocation /trades /log\n/grid 交易对，/why 交易对：网格及"
        "空闲原因\n/pause [交易对]：停止新买\n/resume [交易对]：恢复\n/rebalance：立即重新平衡\n/stop：撤单并停止\n"
        "/liquidate 交易对：按市价卖出已移除交易对的持仓"
    ),
}


def said(language: str, name: str, **fields: object) -> str:
    """The text of that name."""
    return (_ZH if language == "zh" else _EN)[name].format(**fields)


NAMES = frozenset(_EN) | frozenset(_ZH)
LANGUAGES = (_EN, _ZH)
