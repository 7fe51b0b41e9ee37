"""Loopback servers that speak the Telegram Bot API, PushPlus and SMTP, with faults on demand."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

BOT_TOKEN = "4711:AAbbCCddEEffGGhhIIjjKKllMMnnOOpp"
CHAT = 987654321
PUSH_TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class Faults:
    """What a server does with its next requests, one each; then it works. `hang`: seconds before each answer."""

    statuses: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    hang: float = 0.0
    always: int = 0  # a status for every request
    asked: int = 0  # requests so far

    async def next(self) -> tuple[int, dict[str, Any]] | None:
        """The fault of this request; None: answer well."""
        self.asked += 1
        if self.hang:
            await asyncio.sleep(self.hang)
        if self.always:
            return self.always, {}
        return self.statuses.popleft() if self.statuses else None


class BotApi:
    """A Telegram bot's server: keeps what the bot sends, and hands out updates as Telegram does.

    An update is handed out until a later `offset` confirms it. Two getUpdates at once: the earlier one gets 409.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.updates: list[dict[str, Any]] = []
        self.url = ""
        self.conflict = False  # another bot polls all the time
        self._next_update, self._next_message = 1000, 1
        self._new = asyncio.Event()
        self._poll = 0

    @property
    def texts(self) -> list[str]:
        """Texts of all messages that the bot sent, edits not included."""
        return [body["text"] for method, body in self.calls if method == "sendMessage"]

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every call of one method."""
        return [body for name, body in self.calls if name == method]

    def say(self, text: str, at: float, chat: int = CHAT) -> int:
        """A person writes to the bot; the update's id. `at`: when, in seconds since the epoch."""
        return self._add({"message": self._message(text, at, chat)})

    def press(self, data: str, at: float, chat: int = CHAT) -> int:
        """A person presses a button; the update's id."""
        user = {"id": chat, "is_bot": False, "first_name": "Ann"}
        query = {"id": str(self._next_update), "from": user, "chat_instance": "1", "data": data}
        return self._add({"callback_query": query | {"message": self._message("…", at, chat)}})

    def _message(self, text: str, at: float, chat: int) -> dict[str, Any]:
        self._next_message += 1
        user = {"id": chat, "is_bot": False, "first_name": "Ann"}
        where = {"id": chat, "type": "private", "first_name": "Ann"}
        return {"message_id": self._next_message, "date": int(at), "chat": where, "from": user, "text": text}

    def _add(self, update: dict[str, Any]) -> int:
        update_id, self._next_update = self._next_update, self._next_update + 1
        self.updates.append({"update_id": update_id, **update})
        self._new.set()
        return update_id

    async def answer(self, request: web.Request) -> web.Response:
        """One call of the Bot API."""
        method, token = request.match_info["method"], request.match_info["token"]
        body = {name: _parsed(value) for name, value in (await request.post()).items()}
        if token != BOT_TOKEN:
            return _refused(401, "Unauthorized")
        if method == "getUpdates":
            return await self._get_updates(body)
        fault = await self.faults.next()
        if fault is not None:
            return _refused(fault[0], "fault", **fault[1])
        self.calls.append((method, body))
        if method in ("sendMessage", "editMessageText"):
            text = body["text"]
            if not text or len(text.encode("utf-16-le")) > 2 * 4096:
                return _refused(400, "Bad Request: message is too long")
            return _good(self._message(text, 0, int(body["chat_id"])))
        return _good(True)

    async def _get_updates(self, body: dict[str, Any]) -> web.Response:
        self._poll += 1
        poll = self._poll
        self.updates = [each for each in self.updates if each["update_id"] >= int(body.get("offset", 0))]
        deadline = asyncio.get_running_loop().time() + float(body.get("timeout", 0))
        while True:
            if self.conflict or self._poll != poll:
                return _refused(409, "Conflict: terminated by other getUpdates request")
            left = deadline - asyncio.get_running_loop().time()
            if self.updates or left <= 0:
                return _good(self.updates)
            self._new.clear()
            try:
                await asyncio.wait_for(self._new.wait(), min(left, 0.05))
            except TimeoutError:
                continue


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def _good(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _refused(status: int, why: str, **parameters: Any) -> web.Response:
    body = {"ok": False, "error_code": status, "description": why, "parameters": parameters}
    return web.json_response(body, status=status)


class PushPlus:
    """PushPlus: answers 200 with a code in the body, also for a wrong token."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.sent: list[dict[str, Any]] = []
        self.got: list[str] = []  # paths of GET requests, as of a service that watches heartbeats
        self.url = ""

    async def heard(self, request: web.Request) -> web.Response:
        """A GET request."""
        self.got.append(request.path)
        return web.Response()

    async def answer(self, request: web.Request) -> web.Response:
        """One POST to /send."""
        body = json.loads(await request.read())
        fault = await self.faults.next()
        if fault is not None:
            return web.Response(status=fault[0])
        if body["token"] != PUSH_TOKEN:
            return web.json_response({"code": 903, "msg": "invalid token"})
        self.sent.append(body)
        return web.json_response({"code": 200, "msg": "ok"})


class Mail:
    """An SMTP server that wants a login."""

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.refuse = False
        self.port = 0

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """One message."""
        if not session.authenticated:
            return "530 log in first"
        if self.refuse:
            return "451 try again later"
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.sent.append(message)
        return "250 OK"


@asynccontextmanager
async def bot_api() -> AsyncIterator[BotApi]:
    """A Bot API server in this event loop."""
    bot = BotApi()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", bot.answer)
    async with _serving(app) as bot.url:
        yield bot


@asynccontextmanager
async def push_plus() -> AsyncIterator[PushPlus]:
    """A PushPlus server in this event loop."""
    push = PushPlus()
    app = web.Application()
    app.router.add_post("/send", push.answer)
    app.router.add_get("/{path}", push.heard)
    async with _serving(app) as push.url:
        yield push


@asynccontextmanager
async def _serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def mail_server(user: str = "robot", password: str = "pass-word-1") -> AsyncIterator[Mail]:
    """An SMTP server in this event loop."""

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
        right = data.login == user.encode() and data.password == password.encode()
        return AuthResult(success=right, handled=False)

    mail = Mail()
    options: dict[str, Any] = {"authenticator": check, "auth_require_tls": False}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mail, hostname="127.0.0.1", loop=loop, **options), "127.0.0.1", 0)
    mail.port = server.sockets[0].getsockname()[1]
    try:
        yield mail
    finally:
        server.close()
        await server.wait_closed()
