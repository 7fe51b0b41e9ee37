"""Settings of alerts. A channel exists where its token is set.

What reaches or names a person is a secret: tokens, chat ids, addresses, mail servers, URLs.
"""

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from tasks.base.alert_kinds import AlertKind
from tasks.settings.section import Section
from tasks.settings.text_rules import checked_api_url, matches

Switch = Literal["on", "off", "silent"]
Level = Literal["info", "warning", "error", "critical"]
_HOURS = r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d"


def _as_text(value: Any) -> Any:
    """A chat id may be written as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise PydanticCustomError("wrong_text", "must be the name of a time zone, like Europe/Berlin") from None
    return name


def _web_url(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/]+\S*", secret.get_secret_value()):
        raise PydanticCustomError("wrong_text", "must be http:// or https:// and a host")
    return secret


def is_set(secret: SecretStr | None) -> bool:
    """Whether the secret has a value. An empty variable sets none."""
    return secret is not None and bool(secret.get_secret_value().strip())


_ChatId = Annotated[SecretStr, BeforeValidator(_as_text)]
_ApiUrl = Annotated[str, AfterValidator(checked_api_url)]


class ChannelSettings(Section):
    """What a channel is sent, and how often."""

    min_level: Level = Field("info", description="lowest level that is sent: info, warning, error or critical")
    kinds: dict[AlertKind, Switch] = Field(
        {}, description='on, off or silent by kind of alert, like { fill = "silent" }; kinds that are not named are on'
    )
    repeat_minutes: Annotated[int, Field(ge=0, le=1440)] = Field(
        10, description="minutes in which the same alert is sent once, 0 to 1440; repeats are counted in a digest"
    )
    per_minute: Annotated[int, Field(ge=1, le=600)] = Field(
        20, description="most messages a minute, 1 to 600; what is above it comes in a digest"
    )
    backlog: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        10_000,
        description="alerts that may wait while the channel fails, 100 to 1000000; the oldest beyond it are dropped, "
        "counted, and told once it works again",
    )
    quiet_hours: Annotated[str, matches(rf"({_HOURS})?", "must be HH:MM-HH:MM, or empty for none")] = Field(
        "", description="HH:MM-HH:MM in alerts.timezone: only critical alerts are sent; the others wait for its end"
    )


class TelegramSettings(ChannelSettings):
    """A Telegram bot: it sends alerts to one chat, and takes commands from allowed chats."""

    token: SecretStr | None = Field(None, description="token of the Telegram bot, from @BotFather")
    chat_id: _ChatId | None = Field(None, description="id of the chat that gets the alerts and may give commands")
    allowed_chats: list[_ChatId] = Field([], description="ids of further chats that may give commands")
    commands: bool = Field(True, description="true or false: take commands such as /status and /stop")
    api_url: _ApiUrl = Field("https://api.telegram.org", description="base URL of the Bot API, for a proxy")


class PushPlusSettings(ChannelSettings):
    """PushPlus, which delivers to WeChat."""

    token: SecretStr | None = Field(None, description="PushPlus token, 32 to 64 of a-z 0-9 _ -")
    api_url: _ApiUrl = Field("https://www.pushplus.plus", description="base URL of PushPlus, for a proxy")


class EmailSettings(ChannelSettings):
    """E-mail through an SMTP server."""

    host: SecretStr | None = Field(None, description="SMTP server")
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(465, description="port of the SMTP server, 1 to 65535")
    security: Literal["ssl", "starttls", "none"] = Field(
        "ssl", description="ssl (port 465), starttls (port 587), or none for a server on this machine"
    )
    user: SecretStr | None = Field(None, description="SMTP user")
    password: SecretStr | None = Field(None, description="SMTP password")
    sender: SecretStr | None = Field(None, description="address that alerts come from")
    recipients: list[SecretStr] = Field([], description="addresses that alerts go to")


class AppriseSettings(ChannelSettings):
    """Any service that Apprise knows: Bark, Feishu, DingTalk, ntfy, Discord, Slack and more."""

    urls: list[SecretStr] = Field([], description="Apprise URLs, see https://appriseit.com/services/")


class AlertSettings(Section):
    """Alerts: the channels, and what is common to them."""

    telegram: TelegramSettings = TelegramSettings()
    pushplus: PushPlusSettings = PushPlusSettings()
    email: EmailSettings = EmailSettings()
    apprise: AppriseSettings = AppriseSettings()
    language: Literal["en", "zh"] = Field("en", description="language of alerts and of Telegram's answers: en or zh")
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="time zone of quiet_hours and daily_summary_hour, like Europe/Berlin"
    )
    daily_summary_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        8, description="hour of the daily summary, 0 to 23; switch it off by the kind daily_summary"
    )
    fills: Literal["off", "each", "hourly"] = Field(
        "off", description="off, each or hourly: alerts of fills, one message for each or an hourly digest"
    )
    late_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        120, description="a tick later than this is an alert, in seconds, 10 to 3600"
    )
    unknown_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        60, description="an order whose outcome is unknown for longer is an alert, in seconds, 10 to 3600"
    )
    heartbeat_url: Annotated[SecretStr, AfterValidator(_web_url)] | None = Field(
        None,
        description="called while ticks are on time and the funds audit passes; a service outside this machine can "
        "then tell you when the calls end",
    )
    heartbeat_minutes: Annotated[int, Field(ge=1, le=60)] = Field(
        5, description="minutes between two calls of heartbeat_url, 1 to 60"
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels that have all they need."""
        telegram, email = self.telegram, self.email
        has_sender = is_set(email.sender) or is_set(email.user)
        found = {
            "telegram": is_set(telegram.token) and is_set(telegram.chat_id),
            "pushplus": is_set(self.pushplus.token),
            "email": is_set(email.host) and has_sender and any(map(is_set, email.recipients)),
            "apprise": any(map(is_set, self.apprise.urls)),
        }
        return tuple(name for name, is_there in found.items() if is_there)
