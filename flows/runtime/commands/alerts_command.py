"""`gridflow alerts test`: sends a test alert through each configured channel."""

import asyncio
import json
from pathlib import Path

import click

from flows.runtime.commands.options import common_options, json_option, settings_in_force
from tasks.base.errors import GridflowError
from tasks.settings.model import Settings

_HOW = "Set a channel's token, for example GRIDFLOW_ALERTS__TELEGRAM__TOKEN and GRIDFLOW_ALERTS__TELEGRAM__CHAT_ID"


@click.group()
def alerts() -> None:
    """Try the channels that alerts are sent through."""


@alerts.command(name="test")
@common_options
@json_option
def test_command(config: Path | None, state: Path | None, as_json: bool) -> None:
    """Send a test alert through each channel that is set, and say which ones delivered it. Needs no running stack.

    Exit code 0 only if every channel delivered it.
    """
    settings = settings_in_force(config, state)
    if not settings.alerts.channels:
        raise GridflowError(f"no alert channel is set. {_HOW}")
    results = asyncio.run(_send(settings))
    if as_json:
        rows = {name: {"delivered": not error, "error": error} for name, error in results.items()}
        click.echo(json.dumps({"channels": rows}))
    else:
        for name, error in results.items():
            click.echo(f"{name}: {f'failed: {error}' if error else 'delivered'}")
    if any(results.values()):
        raise SystemExit(1)


async def _send(settings: Settings) -> dict[str, str]:
    """By channel: why it did not deliver; '' where it did."""
    from tasks.alerts.building import configured_channels  # imports the channels
    from tasks.alerts.models import Alert, AlertLevel, ChannelError
    from tasks.alerts.text import message_of

    texts = {"en": ("Test", "This is a test alert of Gridflow."), "zh": ("测试", "这是 Gridflow 的测试告警。")}
    title, message = texts[settings.alerts.language]
    alert = Alert(level=AlertLevel.INFO, title=title, message=message, context={"account": settings.account})
    found = {name: each.channel for name, each in configured_channels(settings).items()}
    sends = (channel.send(message_of(alert, settings.alerts.language)) for channel in found.values())
    results = await asyncio.gather(*sends, return_exceptions=True)
    errors: dict[str, str] = {}
    for name, result in zip(found, results, strict=True):
        if isinstance(result, BaseException) and not isinstance(result, ChannelError):
            raise result
        errors[name] = str(result or "")
    return errors
