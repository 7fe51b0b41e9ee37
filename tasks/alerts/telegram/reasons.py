"""Why a symbol or its cells do nothing, in Chinese. Pure. The English words are those of the views."""

from collections.abc import Mapping

from tasks.views.models import ReasonView

_ZH: Mapping[str, str] = {
    "ABOVE_PRICE": "买价高于市价，等待价格回升",
    "SYMBOL_LIMIT": "该交易对的额度已用完，等待卖出或增加额度",
    "GRID_LIMIT": "该网格在交易对额度中的份额已用完，等待该网格卖出或提高权重",
    "GLOBAL_LIMIT": "资金池已用完，等待卖出或追加资金",
    "PAUSED": "新买入已暂停，等待 /resume",
    "STALE_PRICE": "最新价格过旧，等待新价格",
    "STOPPED": "交易已停止，等待 /resume",
    "BELOW_MINIMUM": "订单低于交易所最小限额，需更大的单格金额或额度",
    "ABOVE_MAXIMUM": "订单高于交易所最大限额，需更小的单格金额",
    "TOO_FAR": "交易所不接受离市价这么远的订单，等待价格靠近",
    "MAX_ORDERS": "交易所不允许更多挂单，等待价格靠近",
    "RATE_LIMITED": "请求频率已达上限，等待下一次轮询",
    "REJECTED": "交易所拒绝了上一个订单，稍后重试",
    "NO_BASE": "交易所可用币量不足，等待余额恢复",
    "GRID_UNFIT": "交易所现行规则或手续费不允许该网格，只卖不买，请运行 gridflow check",
    "OUT_OF_REACH": "价位超出 activation_pct 范围，等待价格靠近",
    "NOT_STARTED": "等待触发价格或开始时间",
    "PAUSED_BY_RULE": "设置在此价格或时间段暂停买入",
    "POSITION_LIMIT": "持仓占比已达上限或下限，等待价格变化或成交",
    "PRICE_JUMP": "价格跳变，等待下一次轮询确认",
    "WIDE_SPREAD": "买卖价差过大，等待价差缩小",
    "STOP_FIRED": "止损或止盈已触发，等待 /resume",
    "RESERVE": "持有区间上方所有格子的币，价格上涨时分配",
    "RETIRED": "属于旧网格、旧区间或已移除的交易对，不再买入",
    "LEFT": "已移出设置且无持仓",
    "DARK": "没有进程在处理该交易对",
    "EXCHANGE_BREAKER": "交易所熔断，等待一次成功的探测",
    "BREAKER": "该交易对熔断：连续轮询失败，等待一次成功的探测",
    "TICK_FAILED": "上一次轮询失败，下一次重试",
    "PAUSED_IN_PREFECT": "已在 Prefect 中暂停",
    "RETIRING": "已移出设置：不再买入，卖出持仓",
    "HISTORY_FULL": "历史记录待写入过多，暂停买入，等待数据库恢复",
    "SHORT": "交易所余额少于资金池承诺，暂停买入",
    "RECORDING_FINISHED": "行情回放已结束",
    "NOT_TICKED": "尚未轮询",
    "ABOVE_RANGE": "价格高于网格区间，等待回落",
    "BELOW_RANGE": "价格低于网格区间，等待回升",
}
CODES = frozenset(_ZH)


def reason_text(reason: ReasonView, language: str) -> str:
    """One reason; how many cells it concerns first. A code without a text in the language is told in English."""
    if language != "zh" or reason.code not in _ZH:
        return str(reason)
    return f"{reason.cells} 格：{_ZH[reason.code]}" if reason.cells else _ZH[reason.code]
