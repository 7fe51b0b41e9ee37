"""The channels that the settings describe, with their rules."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from tasks.alerts.apprise_channels import AppriseChannel, EmailChannel, PushPlusChannel
from tasks.alerts.channel import AlertChannel
from tasks.alerts.gate import Rules, minutes_of
from tasks.alerts.telegram_channel import TelegramChannel
from tasks.base.alert_kinds import AlertLevel
from tasks.settings.alerts import AlertSettings, ChannelSettings
from tasks.settings.model import Settings


class Configured(NamedTuple):
    """A channel, and what it is sent."""

    channel: AlertChannel
    rules: Rules


def configured_channels(settings: Settings) -> dict[str, Configured]:
    """The channels that are set, by name: telegram, pushplus, email, apprise."""
    alerts = settings.alerts
    return {
        name: Configured(_MAKERS[name](alerts), rules_of(getattr(alerts, name), alerts)) for name in alerts.channels
    }


def rules_of(channel: ChannelSettings, alerts: AlertSettings) -> Rules:
    """The settings of a channel as the gate reads them."""
    return Rules(
        min_level=AlertLevel[channel.min_level.upper()],
        kinds=channel.kinds,
        repeat_ms=channel.repeat_minutes * 60_000,
        per_minute=channel.per_minute,
        quiet=minutes_of(channel.quiet_hours),
        zone=ZoneInfo(alerts.timezone),
        backlog=channel.backlog,
    )


def text_of(secret: SecretStr | None) -> str:
    """The secret's value; '' where it is not set."""
    return "" if secret is None else secret.get_secret_value().strip()


def _telegram(alerts: AlertSettings) -> AlertChannel:
    own = alerts.telegram
    return TelegramChannel(text_of(own.token), text_of(own.chat_id), own.api_url, alerts.language)


def _pushplus(alerts: AlertSettings) -> AlertChannel:
    return PushPlusChannel(text_of(alerts.pushplus.token), alerts.pushplus.api_url, alerts.language)


def _email(alerts: AlertSettings) -> AlertChannel:
    own = alerts.email
    return EmailChannel(
        text_of(own.host),
        own.port,
        text_of(own.sender) or text_of(own.user),
        _texts(own.recipients),
        text_of(own.user) or None,
        text_of(own.password) or None,
        own.security,
        alerts.language,
    )


def _apprise(alerts: AlertSettings) -> AlertChannel:
    return AppriseChannel(_texts(alerts.apprise.urls), alerts.language)


def _texts(secrets: Sequence[SecretStr]) -> list[str]:
    return [text for text in map(text_of, secrets) if text]


_MAKERS: Mapping[str, Callable[[AlertSettings], AlertChannel]] = {
    "telegram": _telegram,
    "pushplus": _pushplus,
    "email": _email,
    "apprise": _apprise,
}
