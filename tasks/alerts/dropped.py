"""Alerts that a channel lost because it failed for too long: counted by title, and told once it works again. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo

from pydantic import Field

from tasks.alerts.models import Alert, AlertLevel, Message
from tasks.alerts.text import head
from tasks.exchange.models import Frozen

_TITLE = {
    "en": "{count} alerts were dropped while this channel failed",
    "zh": "该渠道故障期间丢弃了 {count} 条告警",
}
_SPAN = {
    "en": "from {first} to {last}. More than {backlog} waited (alerts backlog). The log has all of them.",
    "zh": "从 {first} 到 {last}。等待数超过 {backlog}（backlog）。完整内容见日志。",
}
_MORE = {"en": "and {count} more", "zh": "另有 {count} 条"}
_KINDS = 20
_TIME = "%Y-%m-%d %H:%M:%S %Z"


class Dropped(Frozen):
    """What was dropped and not told yet. `titles`: the most serious ones with their counts; times in ms."""

    count: int = 0
    first_ms: int = 0
    last_ms: int = 0
    worst: AlertLevel = AlertLevel.INFO
    titles: Mapping[str, int] = Field(default_factory=dict)

    def with_alerts(self, alerts: Iterable[Alert]) -> "Dropped":
        """The record with these, too."""
        found, titles = self, dict(self.titles)
        for alert in alerts:
            title = head(alert)
            titles[title] = titles.get(title, 0) + 1
            found = Dropped(
                count=found.count + 1,
                first_ms=min(found.first_ms or alert.at_ms, alert.at_ms),
                last_ms=max(found.last_ms, alert.at_ms),
                worst=max(found.worst, alert.level),
            )
        kept = sorted(titles.items(), key=lambda one: (-_level(one[0]), -one[1], one[0]))[:_KINDS]
        return found.model_copy(update={"titles": dict(kept)})


def told(dropped: Dropped, backlog: int, language: str, zone: tzinfo) -> Message:
    """The message that tells what was dropped."""
    title = f"[{dropped.worst.name}] {_TITLE[language].format(count=dropped.count)}"
    first, last = (f"{datetime.fromtimestamp(ms / 1000, zone):{_TIME}}" for ms in (dropped.first_ms, dropped.last_ms))
    lines = [f"{count} × {name}" for name, count in dropped.titles.items()]
    if rest := dropped.count - sum(dropped.titles.values()):
        lines.append(_MORE[language].format(count=rest))
    span = _SPAN[language].format(first=first, last=last, backlog=backlog)
    return Message(title=title, text="\n".join([title, "", span, "", *lines]))


def _level(title: str) -> int:
    name = title[1:].partition("]")[0]
    return AlertLevel[name].value if name in AlertLevel.__members__ else 0
