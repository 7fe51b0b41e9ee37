"""What an alert is, and what is sent to a channel."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, field_validator

from tasks.base.alert_kinds import AlertKind, AlertLevel
from tasks.exchange.models import Frozen

__all__ = ["Alert", "AlertKind", "AlertLevel", "ChannelError", "Message"]


class Alert(Frozen):
    """One alert. `key`: alerts with the same key repeat each other. `channels`: None for all of them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    level: AlertLevel
    title: str
    message: str
    kind: AlertKind = AlertKind.CUSTOM
    context: Mapping[str, Any] | None = None
    key: str = ""
    channels: tuple[str, ...] | None = None
    at_ms: int = 0

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """A kind of a later version is CUSTOM."""
        return value if value in set(AlertKind) else AlertKind.CUSTOM

    @property
    def repeat_key(self) -> str:
        """What two alerts have in common that repeat each other."""
        return self.key or f"{self.kind.value}|{self.title}"


class Message(Frozen):
    """What a channel sends. `silent`: without a sound, where the channel can."""

    title: str  # one line: `[LEVEL] title`
    text: str  # the whole text, with the title as its first line
    silent: bool = False


class ChannelError(Exception):
    """A channel did not deliver. `retry_after`: seconds that the service wants to have; the text holds no secret."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(why)
