"""The text of alerts and digests. Pure."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, tzinfo

from tasks.alerts.models import Alert, Message

_CONTEXT = {"en": "Context:", "zh": "上下文:"}
_CUT = {"en": "… (cut; the whole text is in the log)", "zh": "…（已截断，完整内容见日志）"}
_DIGEST = {"en": "{count} alerts were held back", "zh": "{count} 条告警已合并"}
_SPAN = {"en": "from {first} to {last}", "zh": "从 {first} 到 {last}"}
_MORE = {"en": "and {count} more of {kinds} other kinds", "zh": "另有 {count} 条，共 {kinds} 种"}
_LINES = 20
_TIME = "%Y-%m-%d %H:%M:%S %Z"


def full_text(alert: Alert, language: str) -> str:
    """`[LEVEL] title`, a blank line, the message, and the context as indented JSON."""
    text = f"{head(alert)}\n\n{alert.message}"
    if alert.context:
        context = json.dumps(alert.context, indent=2, ensure_ascii=False, default=str)
        text += f"\n\n{_CONTEXT[language]} {context}"
    return text


def head(alert: Alert) -> str:
    """`[LEVEL] title` in one line: a title may come from outside, and stands in the header of an e-mail."""
    return f"[{alert.level.name}] {' '.join(alert.title.split())}"


def message_of(alert: Alert, language: str, *, silent: bool = False) -> Message:
    """The alert as a channel sends it."""
    return Message(title=head(alert), text=full_text(alert, language), silent=silent)


def digest_of(alerts: Sequence[Alert], language: str, zone: tzinfo, *, silent: bool = False) -> Message:
    """One message for many alerts: how many of each, the most serious first, and from when to when."""
    worst = max(alert.level for alert in alerts)
    title = f"[{worst.name}] {_DIGEST[language].format(count=len(alerts))}"
    times = [alert.at_ms for alert in alerts]
    first, last = (f"{datetime.fromtimestamp(ms / 1000, zone):{_TIME}}" for ms in (min(times), max(times)))
    counts = Counter((alert.level, head(alert), _subject(alert)) for alert in alerts)
    ranked = sorted(counts.items(), key=lambda one: (-one[0][0], -one[1], one[0][1:]))
    lines = [f"{count} × {line}{subject}" for (_, line, subject), count in ranked[:_LINES]]
    if rest := ranked[_LINES:]:
        lines.append(_MORE[language].format(count=sum(count for _, count in rest), kinds=len(rest)))
    body = "\n".join([_SPAN[language].format(first=first, last=last), "", *lines])
    return Message(title=title, text=f"{title}\n\n{body}", silent=silent)


def _subject(alert: Alert) -> str:
    symbol = (alert.context or {}).get("symbol")
    return f" ({symbol})" if symbol else ""


def cut(text: str, most: int, language: str) -> str:
    """At most `most` UTF-16 units of the text, which is how Telegram counts; a cut text says where the whole is."""
    if units(text) <= most:
        return text
    end = "\n" + _CUT[language]
    raw = text.encode("utf-16-le")[: 2 * (most - units(end))]
    return raw.decode("utf-16-le", errors="ignore") + end


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def escaped_markdown(text: str) -> str:
    """Text that a service which renders Markdown shows as it is."""
    return "".join(f"\\{char}" if char in "\\`*_~|[]<>#" else char for char in text)


def in_one_line(text: str) -> str:
    """Text without line breaks, for a log line."""
    return " ".join(text.split())
