"""The table of alerts: which event becomes which alert, and what it says in each language. Pure."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.alerts.models import Alert
from tasks.base.alert_kinds import AlertKind, AlertLevel
from tasks.base.events import EventKind
from tasks.base.money import from_units, plain

INFO, WARNING, ERROR, CRITICAL = AlertLevel


class Text(NamedTuple):
    """Title and message in one language; `{name}` stands for a field of the context."""

    title: str
    message: str


class Rule(NamedTuple):
    """How serious an alert is, what it says, and the fields by which two of a kind are the same."""

    level: AlertLevel
    en: Text
    zh: Text
    subject: tuple[str, ...] = ("symbol",)


# One line of English and one of Chinese for each kind. Context fields: see the event's publisher, and `conditions`.
RULES: Mapping[AlertKind, Rule] = {
    AlertKind.ORDER_FAILED: Rule(
        ERROR,
        Text("Order failed", "The exchange refused to {side} {amount} of {symbol} at {price}: {error}."),
        Text("交易执行失败", "交易对 {symbol} 下单失败（{side} {amount}，价格 {price}）：{error}"),
        ("symbol", "error"),
    ),
    AlertKind.ORDER_UNKNOWN: Rule(
        ERROR,
        Text("Order in doubt", "{symbol}: whether the exchange has the order is not known for {seconds} s."),
        Text("订单状态未知", "{symbol}：订单状态已有 {seconds} 秒无法确认"),
        ("id",),
    ),
    AlertKind.LIMIT_HIT: Rule(
        WARNING,
        Text("Limit reached", "{symbol}: {reason} refuses further buys; {usage} of {limit} is in use."),
        Text("仓位限制触发", "{symbol}：{reason} 拒绝新的买单，已用 {usage}，上限 {limit}"),
        ("symbol", "reason"),
    ),
    AlertKind.FUNDS_DRIFT: Rule(
        ERROR,
        Text("Funds do not add up", "The audit of the pot found differences. See `gridflow funds audit`."),
        Text("资金核对不一致", "资金审计发现差异，请运行 `gridflow funds audit`"),
    ),
    AlertKind.FUNDS_SHORT: Rule(
        ERROR,
        Text("Balance below what is promised", "The exchange holds {short} quote less than the pot promises: no buys."),
        Text("余额不足", "交易所余额比承诺资金少 {short}，暂停新的买单"),
    ),
    AlertKind.FUNDS_RESTORED: Rule(
        INFO,
        Text("Balance restored", "The exchange holds enough quote again: buys resume."),
        Text("余额已恢复", "交易所余额已足够，恢复买单"),
    ),
    AlertKind.BASE_SHORT: Rule(
        ERROR,
        Text("Coins are missing", "The exchange holds {short} {coin} less than the cells."),
        Text("持币不足", "交易所的 {coin} 比账面少 {short}"),
        ("coin",),
    ),
    AlertKind.BASE_RESTORED: Rule(
        INFO,
        Text("Coins are back", "The exchange holds as much {coin} as the cells again."),
        Text("持币已恢复", "交易所的 {coin} 已与账面一致"),
        ("coin",),
    ),
    AlertKind.BASE_MISSING: Rule(
        WARNING,
        Text("Coins left the account", "{symbol}: {qty} left without a sell; the books lose {cost}."),
        Text("持币流出", "{symbol}：{qty} 未经卖出离开账户，账面减少 {cost}"),
    ),
    AlertKind.BASE_RETURNED: Rule(
        INFO,
        Text("Coins came back", "{symbol}: {qty} are in the books again."),
        Text("持币返回", "{symbol}：{qty} 重新入账"),
    ),
    AlertKind.BREAKER: Rule(
        WARNING,
        Text("Circuit breaker", "The circuit breaker of {breaker} went from {from} to {to}. {why}"),
        Text("熔断器", "{breaker} 的熔断器由 {from} 变为 {to}。{why}"),
        ("breaker", "to"),
    ),
    AlertKind.RATE_BAN: Rule(
        WARNING,
        Text("Rate limit", "The exchange takes no requests until {until}."),
        Text("请求受限", "交易所暂停接受请求，直到 {until}"),
        ("scope",),
    ),
    AlertKind.LEASE_LOST: Rule(
        WARNING,
        Text("Lease lost", "{symbol}: worker {worker} lost its lease to another worker."),
        Text("租约丢失", "{symbol}：进程 {worker} 的租约被其他进程取得"),
    ),
    AlertKind.TICK_LATE: Rule(
        WARNING,
        Text("Tick late", "{symbol}: the next tick is {seconds} s late."),
        Text("行情处理延迟", "{symbol}：下一次处理已延迟 {seconds} 秒"),
    ),
    AlertKind.TICK_CRASHED: Rule(
        ERROR,
        Text("Tick crashed", "{symbol}: a tick ended with {error_type}: {error}. The traceback is in the log."),
        Text("处理异常", "{symbol}：{error_type}：{error}，堆栈见日志"),
        ("symbol", "error_type"),
    ),
    AlertKind.SYMBOL_DARK: Rule(
        CRITICAL,
        Text("Nobody trades a symbol", "{symbol} is dark: {why}."),
        Text("交易对无人处理", "{symbol} 无人处理：{why}"),
    ),
    AlertKind.SYMBOL_TICKS: Rule(
        INFO,
        Text("Symbol is traded again", "{symbol} is ticked again after {seconds} s."),
        Text("交易对已恢复", "{symbol} 在 {seconds} 秒后恢复处理"),
    ),
    AlertKind.WORKER_GONE: Rule(
        ERROR,
        Text("Worker gone", "Worker {host}:{pid} has not been heard of for {seconds} s."),
        Text("进程失联", "进程 {host}:{pid} 已 {seconds} 秒没有心跳"),
        ("worker",),
    ),
    AlertKind.HISTORY_AWAY: Rule(
        ERROR,
        Text("History database away", "Records wait in Redis; trading goes on. {why}"),
        Text("历史数据库不可用", "记录暂存于 Redis，交易继续。{why}"),
    ),
    AlertKind.HISTORY_BACK: Rule(
        INFO,
        Text("History database back", "Records are written again."),
        Text("历史数据库已恢复", "记录恢复写入"),
    ),
    AlertKind.HISTORY_FULL: Rule(
        ERROR,
        Text("History full", "Too many records wait in Redis: no new buys."),
        Text("历史积压", "等待写入的记录过多，暂停新的买单"),
    ),
    AlertKind.FLOW_CRASHED: Rule(
        ERROR,
        Text("Flow failed", "The run {run} of {flow} ended with {error_type}: {error}. The traceback is in the log."),
        Text("流程失败", "{flow} 的运行 {run} 失败：{error_type}：{error}，堆栈见日志"),
        ("flow", "error_type"),
    ),
    AlertKind.PROCESS_CRASHED: Rule(
        CRITICAL,
        Text("Process crashed", "Process {process} ended with {error_type}: {error}. The traceback is in the log."),
        Text("系统严重错误", "进程 {process} 崩溃：{error_type}：{error}，堆栈见日志"),
        ("process",),
    ),
    AlertKind.STARTED: Rule(
        INFO,
        Text("System started", "Gridflow trades {count} symbols of account {account} ({mode})."),
        Text("系统启动", "账户 {account} 开始交易 {count} 个交易对（{mode}）"),
        ("account",),
    ),
    AlertKind.STOP_FIRED: Rule(
        ERROR,
        Text("Stop fired", "{symbol}: {stop}, because {why}. Held base: {exit}. To trade on: {resume}"),
        Text("止损/止盈触发", "{symbol}：{stop}：{why}，持仓处理：{exit}；恢复请执行 {resume}"),
    ),
    AlertKind.STOPPED: Rule(
        INFO,
        Text("System stopped", "Trading was stopped in order. {left}"),
        Text("系统停机", "交易系统已优雅停机。{left}"),
        ("account",),
    ),
    AlertKind.SETTINGS_CHANGED: Rule(
        INFO,
        Text("Settings changed", "Version {version} of the settings is in force."),
        Text("配置已变更", "配置版本 {version} 已生效"),
        ("version",),
    ),
    AlertKind.DAILY_SUMMARY: Rule(
        INFO,
        Text("Daily summary", "Equity {equity}, profit {profit}, of it grid {grid_profit}; {fills} fills in 24 h."),
        Text("每日汇总", "权益 {equity}，盈亏 {profit}，其中网格 {grid_profit}；24 小时成交 {fills} 笔"),
        ("day",),
    ),
    AlertKind.FILL: Rule(
        INFO,
        Text("Fill", "{symbol}: {side} {amount} at {price}, profit {profit}."),
        Text("成交", "{symbol}：{side} {amount}，价格 {price}，利润 {profit}"),
        ("trade_id",),
    ),
    AlertKind.REDIS_RESTARTED: Rule(
        WARNING,
        Text("Redis restarted", "Redis restarted or went back; the books of {symbols} symbols were compared."),
        Text("Redis 重启", "Redis 重启或回退，已核对 {symbols} 个交易对"),
    ),
    AlertKind.FLAGS_RESTORED: Rule(
        WARNING,
        Text("Flags restored", "Redis was lost; stop and pauses hold again, from the history."),
        Text("标志已恢复", "Redis 数据丢失，停止与暂停状态已从历史恢复"),
    ),
    AlertKind.ORPHAN_ORDER: Rule(
        WARNING,
        Text("Order without a journal entry", "{symbol}: an order of ours had no journal entry; it is in it now."),
        Text("孤立订单", "{symbol}：发现未登记的订单，已登记"),
    ),
    AlertKind.DEPLOYMENTS_MENDED: Rule(
        WARNING,
        Text("Deployments restored", "A worker restored deployments or the work pool at the Prefect server."),
        Text("部署已恢复", "进程恢复了 Prefect 的部署或工作池"),
    ),
    AlertKind.WRITTEN_OFF: Rule(
        WARNING,
        Text("Written off", "{symbol}: {qty} left the books at a cost of {cost}."),
        Text("已核销", "{symbol}：{qty} 按成本 {cost} 核销"),
    ),
    AlertKind.EVENTS_MISSED: Rule(
        WARNING,
        Text("Alerts missed", "{count} events happened while no worker watched, and are not told. See the history."),
        Text("告警遗漏", "无人监视期间有 {count} 个事件未告警，请查看历史"),
    ),
}

# Which alert an event becomes; None: no alert.
OF_EVENT: Mapping[EventKind, AlertKind | None] = {
    EventKind.ALLOCATION_UPDATED: None,
    EventKind.FUNDS_SHORT: AlertKind.FUNDS_SHORT,
    EventKind.FUNDS_RESTORED: AlertKind.FUNDS_RESTORED,
    EventKind.FUNDS_DRIFT: AlertKind.FUNDS_DRIFT,
    EventKind.BREAKER_CHANGED: AlertKind.BREAKER,
    EventKind.ORPHAN_ORDER: AlertKind.ORPHAN_ORDER,
    EventKind.REDIS_RESTARTED: AlertKind.REDIS_RESTARTED,
    EventKind.BASE_SHORT: AlertKind.BASE_SHORT,
    EventKind.BASE_RESTORED: AlertKind.BASE_RESTORED,
    EventKind.BASE_MISSING: AlertKind.BASE_MISSING,
    EventKind.BASE_RETURNED: AlertKind.BASE_RETURNED,
    EventKind.DEPLOYMENTS_MENDED: AlertKind.DEPLOYMENTS_MENDED,
    EventKind.SYMBOL_DARK: AlertKind.SYMBOL_DARK,
    EventKind.SYMBOL_TICKS: AlertKind.SYMBOL_TICKS,
    EventKind.HISTORY_AWAY: AlertKind.HISTORY_AWAY,
    EventKind.HISTORY_BACK: AlertKind.HISTORY_BACK,
    EventKind.FLAGS_RESTORED: AlertKind.FLAGS_RESTORED,
    EventKind.HISTORY_FULL: AlertKind.HISTORY_FULL,
    EventKind.WRITTEN_OFF: AlertKind.WRITTEN_OFF,
    EventKind.ORDER_FAILED: AlertKind.ORDER_FAILED,
    EventKind.LEASE_LOST: AlertKind.LEASE_LOST,
    EventKind.TICK_CRASHED: AlertKind.TICK_CRASHED,
    EventKind.FLOW_CRASHED: AlertKind.FLOW_CRASHED,
    EventKind.PROCESS_CRASHED: AlertKind.PROCESS_CRASHED,
    EventKind.STOP_FIRED: AlertKind.STOP_FIRED,
    EventKind.SYSTEM_STOPPED: AlertKind.STOPPED,
}


class _Fields(dict[str, Any]):
    """The fields of a message; one that the event does not have is a dash."""

    def __missing__(self, name: str) -> str:
        return "–"


def alert_of(kind: AlertKind, context: Mapping[str, Any], language: str, at_ms: int = 0) -> Alert:
    """The alert of that kind with these context fields."""
    rule = RULES[kind]
    text = rule.zh if language == "zh" else rule.en
    subject = "|".join(str(context.get(name, "")) for name in rule.subject)
    return Alert(
        level=_level(kind, context, rule),
        title=text.title,
        message=text.message.format_map(_Fields(context)).strip(),
        kind=kind,
        context=dict(context) or None,
        key=f"{kind.value}|{subject}",
        at_ms=at_ms,
    )


def _level(kind: AlertKind, context: Mapping[str, Any], rule: Rule) -> AlertLevel:
    """A breaker that closes is good news; a stop that leaves orders open is bad news."""
    if kind is AlertKind.BREAKER and context.get("to") == "closed":
        return INFO
    if kind is AlertKind.STOPPED and context.get("orders_open") and not context.get("kept"):
        return ERROR
    return rule.level


def alert_of_event(kind: EventKind | str, body: str, language: str, at_ms: int) -> Alert | None:
    """The alert of an event as it stands in the stream; None where it is none, or of a later version."""
    alert = OF_EVENT.get(kind) if isinstance(kind, EventKind) else None
    return None if alert is None else alert_of(alert, context_of(body), language, at_ms)


def context_of(body: str) -> dict[str, Any]:
    """The facts of an event as context fields: amounts in quote instead of units of 1e-8."""
    try:
        facts = json.loads(body)
    except ValueError:
        facts = body
    if not isinstance(facts, dict):
        return {"details": facts}
    context: dict[str, Any] = {}
    for name, value in facts.items():
        if name.endswith("_units") and isinstance(value, int):
            context[name.removesuffix("_units")] = plain(from_units(value))
        else:
            context[name] = value
    return context
