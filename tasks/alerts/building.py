"""The channels that the settings describe, with their rules."""

from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from tasks.alerts.apprise_channels import AppriseChannel, EmailChannel, PushPlusChannel
from tasks.alerts.channel import AlertChannel
from tasks.alerts.gate import Rules, minutes_of
from tasks.alerts.telegram_channel import TelegramChannel
from tasks.base.alert_kinds import AlertLevel
from tasks.settings.alerts import AlertSettings, ChannelSettings, EmailSettings, TelegramSettings
from tasks.settings.model import Settings


class Configured(NamedTuple):
    """A channel, and what it is sent."""

    channel: AlertChannel
    rules: Rules


def configured_channels(settings: Settings) -> dict[str, Configured]:
    """The channels whose token is set, by name: telegram, pushplus, email, apprise."""
    alerts = settings.alerts
    made = {
        "telegram": (_telegram(alerts), alerts.telegram),
        "pushplus": (_pushplus(alerts), alerts.pushplus),
        "email": (_email(alerts), alerts.email),
        "apprise": (_apprise(alerts), alerts.apprise),
    }
    return {name: Configured(channel, rules_of(own, alerts)) for name, (channel, own) in made.items() if channel}


def rules_of(channel: ChannelSettings, alerts: AlertSettings) -> Rules:
    """The settings of a channel as the gate reads them."""
    return Rules(
        min_level=AlertLevel[channel.min_level.upper()],
        kinds=channel.kinds,
        repeat_ms=channel.repeat_minutes * 60_000,
        per_minute=channel.per_minute,
        quiet=minutes_of(channel.quiet_hours),
        zone=ZoneInfo(alerts.timezone),
    )


def text_of(secret: SecretStr | None) -> str:
    """The secret's value; '' where it is not set."""
    return "" if secret is None else secret.get_secret_value().strip()


def bot_of(telegram: TelegramSettings) -> tuple[str, str] | None:
    """Token and chat id; None where they are not set."""
    token, chat_id = text_of(telegram.token), text_of(telegram.chat_id)
    return (token, chat_id) if token and chat_id else None


def _telegram(alerts: AlertSettings) -> AlertChannel | None:
    bot = bot_of(alerts.telegram)
    return TelegramChannel(*bot, alerts.telegram.api_url, alerts.language) if bot else None


def _pushplus(alerts: AlertSettings) -> AlertChannel | None:
    token = text_of(alerts.pushplus.token)
    return PushPlusChannel(token, alerts.pushplus.api_url, alerts.language) if token else None


def _email(alerts: AlertSettings) -> AlertChannel | None:
    email: EmailSettings = alerts.email
    recipients = [text for text in map(text_of, email.recipients) if text]
    host, sender = text_of(email.host), text_of(email.sender) or text_of(email.user)
    if not (host and sender and recipients):
        return None
    return EmailChannel(
        host,
        email.port,
        sender,
        recipients,
        text_of(email.user) or None,
        text_of(email.password) or None,
        email.security,
        alerts.language,
    )


def _apprise(alerts: AlertSettings) -> AlertChannel | None:
    urls = [text for text in map(text_of, alerts.apprise.urls) if text]
    return AppriseChannel(urls, alerts.language) if urls else None
