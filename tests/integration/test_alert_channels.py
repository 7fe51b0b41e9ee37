"""Each channel delivers to a server of its own kind, and says in plain words why one did not."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from tasks.alerts.apprise_channels import AppriseChannel, EmailChannel, PushPlusChannel
from tasks.alerts.channel import AlertChannel
from tasks.alerts.manager import AlertManager
from tasks.alerts.models import AlertLevel, ChannelError, Message
from tasks.alerts.telegram_channel import TelegramChannel
from tests.support.alert_servers import BOT_TOKEN, CHAT, PUSH_TOKEN, Mail, bot_api, mail_server, push_plus

TEXT = '[ERROR] Order failed <b>\n\nbuy & "sell" 中文 _x_ *y*\n\nContext: {\n  "symbol": "BTC/USDT"\n}'
MESSAGE = Message(title=TEXT.partition("\n")[0], text=TEXT)


def email(mail: Mail, password: str = "pass-word-1") -> EmailChannel:
    """A channel to the loopback SMTP server."""
    to = ["ann@example.com", "ben@example.com"]
    return EmailChannel("127.0.0.1", mail.port, "bot@example.com", to, "robot", password, "none", seconds=5)


async def failure(channel: AlertChannel) -> ChannelError:
    """Why the channel does not deliver."""
    with pytest.raises(ChannelError) as caught:
        await channel.send(MESSAGE)
    return caught.value


async def test_every_channel_delivers_the_same_text_unharmed() -> None:
    """Every channel delivers the same text unharmed."""
    async with bot_api() as bot, push_plus() as push, mail_server() as mail:
        manager = AlertManager()
        manager.add_channel("telegram", TelegramChannel(BOT_TOKEN, str(CHAT), bot.url))
        manager.add_channel("pushplus", PushPlusChannel(PUSH_TOKEN, push.url))
        manager.add_channel("email", email(mail))
        context = {"symbol": "BTC/USDT"}
        await manager.send_alert(AlertLevel.ERROR, "Order failed <b>", 'buy & "sell" 中文 _x_ *y*', context=context)
        manager.disable()
        await manager.send_alert(AlertLevel.ERROR, "not sent", "")
        manager.enable()
        manager.remove_channel("pushplus")
        await manager.send_alert(AlertLevel.INFO, "only mail", "", channels=["email", "pushplus"])
        assert bot.texts == [TEXT]
        assert bot.of("sendMessage")[0]["chat_id"] == CHAT
        assert [(one["title"], one["content"]) for one in push.sent] == [(MESSAGE.title, TEXT)]
        assert [one["Subject"] for one in mail.sent] == [MESSAGE.title, MESSAGE.title, *["[INFO] only mail"] * 2]
        assert mail.sent[0].get_content().replace("\r\n", "\n").strip() == TEXT
        assert {one["To"] for one in mail.sent} == {"ann@example.com", "ben@example.com"}


async def test_a_silent_message_makes_no_sound_and_a_long_one_is_cut() -> None:
    """A silent message makes no sound and a long one is cut."""
    async with bot_api() as bot:
        channel = TelegramChannel(BOT_TOKEN, str(CHAT), bot.url)
        await channel.send(Message(title="t", text="x" * 9000, silent=True))
        (call,) = bot.of("sendMessage")
        assert call["disable_notification"] is True
        assert call["text"].endswith("the whole text is in the log)")


async def test_a_failure_says_why_and_shows_no_secret() -> None:
    """A failure says why and shows no secret."""
    async with bot_api() as bot, push_plus() as push, mail_server() as mail:
        bot.faults.statuses.append((429, {"retry_after": 7}))
        push.faults.statuses.append((500, {}))
        slow_down = await failure(TelegramChannel(BOT_TOKEN, str(CHAT), bot.url))
        assert slow_down.retry_after == 7
        assert "500" in str(await failure(PushPlusChannel(PUSH_TOKEN, push.url)))
        other = "9999:zzyyxxwwvvuuttssrrqqppoonnmmllkk"
        wrong = {
            other: TelegramChannel(other, str(CHAT), bot.url),
            "f" * 32: PushPlusChannel("f" * 32, push.url),
            "pass-word-2": email(mail, "pass-word-2"),
            "short-token": PushPlusChannel("short-token!", push.url),
            "nosuch://secret-part": AppriseChannel(["nosuch://secret-part"]),
            "4713:gone": TelegramChannel("4713:gone", str(CHAT), "http://127.0.0.1:1"),
        }
        for secret, channel in wrong.items():
            why = str(await failure(channel))
            assert why
            assert secret not in why
        mail.refuse = True
        assert await failure(email(mail))
        assert bot.texts == []
        assert mail.sent == []


async def test_a_hanging_service_costs_its_time_out_and_gets_the_message_once() -> None:
    """The call goes on in its thread; the next try takes its result."""
    async with bot_api() as bot:
        channel = TelegramChannel(BOT_TOKEN, str(CHAT), bot.url, seconds=0.05)
        bot.faults.hang = 0.6
        began = time.monotonic()
        assert "no answer within" in str(await failure(channel))
        assert time.monotonic() - began < 0.5
        while True:
            try:
                await channel.send(MESSAGE)
                break
            except ChannelError:
                await asyncio.sleep(0.05)
        assert bot.texts == [TEXT]


async def test_of_several_apprise_urls_only_those_that_failed_are_tried_again() -> None:
    """Of several apprise urls only those that failed are tried again."""
    async with push_plus() as push, push_plus() as other:
        hosts = [one.url.removeprefix("http://") for one in (push, other)]
        channel = AppriseChannel([f"json://{host}/send?:token={PUSH_TOKEN}" for host in hosts])
        other.faults.statuses.append((503, {}))
        assert "503" in str(await failure(channel))
        await channel.send(MESSAGE)
        assert [len(one.sent) for one in (push, other)] == [1, 1]
        assert push.sent[0]["message"] == TEXT


async def test_the_test_command_says_which_channels_deliver(monkeypatch: pytest.MonkeyPatch) -> None:
    """As text and as JSON; exit code 1 where one fails, and a hint where none is set."""

    async def asked(*more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["alerts", "test", *more])

    nothing = await asked()
    assert "no alert channel is set" in str(nothing.exception)
    async with bot_api() as bot, push_plus() as push:
        for name, value in {
            "TELEGRAM__TOKEN": BOT_TOKEN,
            "TELEGRAM__CHAT_ID": str(CHAT),
            "TELEGRAM__API_URL": bot.url,
            "PUSHPLUS__TOKEN": PUSH_TOKEN,
            "PUSHPLUS__API_URL": push.url,
        }.items():
            monkeypatch.setenv(f"GRIDFLOW_ALERTS__{name}", value)
        done = await asked()
        assert (done.exit_code, done.output) == (0, "telegram: delivered\npushplus: delivered\n")
        push.faults.always = 500
        failed = await asked("--json")
        assert failed.exit_code == 1
        channels = json.loads(failed.output)["channels"]
        assert channels["telegram"] == {"delivered": True, "error": ""}
        assert "500" in channels["pushplus"]["error"]
        assert len(bot.texts) == 2
