"""No secret is shown anywhere. A secret is a field of type SecretStr: all of them are found by walking the model."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, quote_plus

import pytest
from click.testing import CliRunner
from pydantic import AfterValidator, BaseModel, SecretStr, ValidationError

from flows.runtime.cli import cli
from tasks.base import log_setup
from tasks.base.errors import ConfigError
from tasks.base.redis_client import RedisClient
from tasks.settings.in_force import in_force, publish, shared_part
from tasks.settings.load import from_values, load, public_values
from tasks.settings.model import Settings
from tasks.settings.places import EACH, Place, Values
from tasks.settings.secret_values import secret_fields, secret_texts
from tasks.settings.sources import variable_name
from tests.support.redis_contents import contents

MARK = "Zq7S3CRET"
NUMBER = 7751234567
FORMS = (
    f'{MARK}/+ ä="\\',
    f"redis://user:{MARK}%2Fx@127.0.0.1:1/0",
    f"postgresql+asyncpg://user:{MARK}%2Fx@127.0.0.1:1/db",
    f"https://user:{MARK}@host",
)
FIELDS = list(secret_fields())


def at(place: Place, value: Any) -> Values:
    """Values with `value` at the place. An EACH at the end stands for a list's items, any other for a symbol."""
    if place[-1] == EACH:
        place, value = place[:-1], [value]
    for part in reversed(place):
        value = {"BTC/USDT" if part == EACH else part: value}
    return value  # type: ignore[no-any-return]


def settings_with(place: Place) -> tuple[Settings, str]:
    """Settings that hold a secret there, in the first form that the field accepts, and that secret."""
    for text in FORMS:
        with suppress(ValidationError):
            return Settings.model_validate(at(place, text)), text
    raise AssertionError(f"no form of a secret fits {place}: add one to FORMS")


def load_errors(monkeypatch: pytest.MonkeyPatch, variable: str, texts: list[str], wrong: Values) -> Iterator[str]:
    """What `load` says when the variable has each of these texts, while other variables are wrong."""
    for text in texts:
        with monkeypatch.context() as patched:
            for name, value in {**wrong, variable: text}.items():
                patched.setenv(name, value)
            with pytest.raises(ConfigError) as caught:
                load()
            yield str(caught.value)


def written(place: Place, text: str) -> str:
    """The text of the variable that sets the field; JSON where the field is below a table of names."""
    if place[-1] == EACH:
        return json.dumps([text])
    return json.dumps(at(place[place.index(EACH) :], text)) if EACH in place else text


def neighbours(place: Place) -> list[Place]:
    """The fields beside this one that have a variable of their own."""
    if EACH in place:
        return []
    table: Any = Settings
    for part in place[:-1]:
        table = table.model_fields[part].annotation
    return [(*place[:-1], name) for name in table.model_fields if name != place[-1]]


@pytest.fixture(autouse=True)
def own_loggers() -> Iterator[None]:
    """The loggers are afterwards as they were before."""
    loggers = [logging.getLogger(name) for name in ("tasks", "flows", "dashboard", "gridflow")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.parametrize("place", FIELDS, ids=".".join)
async def test_a_secret_is_shown_nowhere(
    place: Place, redis: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in texts of settings, errors, the file of init, logs, or Redis."""
    monkeypatch.chdir(tmp_path)
    settings, secret = settings_with(place)
    texts = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    texts += [json.dumps(shared_part(settings)), json.dumps(public_values(settings))]

    table = place[:-2] if place[-1] == EACH else place[:-1]
    variable, section = variable_name(place), variable_name(table) if table else "GRIDFLOW_EXCHANGE"
    wrong = {variable_name(field): "[?" for field in neighbours(place) if field[-1] != "symbols"}
    texts += load_errors(
        monkeypatch, variable, [written(place, form) for form in FORMS], wrong | {"GRIDFLOW_TOTAL_FUNDS": "[?"}
    )
    texts += load_errors(monkeypatch, f"{variable}X", [secret], {})
    texts += load_errors(monkeypatch, section, [secret, f'{{"x": "{secret}"', json.dumps([secret])], {})
    for value in (f"[{json.dumps(secret, ensure_ascii=False)}]", str(NUMBER)):
        (tmp_path / "wrong.toml").write_text(toml(place, value), encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "wrong.toml")
        texts.append(str(caught.value))

    monkeypatch.setenv(variable, written(place, secret))
    done = CliRunner().invoke(cli, ["init", "--config", str(tmp_path / "new.toml")])
    assert done.exit_code == 0, done.output
    init = (tmp_path / "new.toml").read_text(encoding="utf-8")
    assert f"{variable}\n" in init
    texts += [done.output, init, *logged(settings, secret)]

    await publish(redis, settings)
    texts.append(await contents(redis))
    assert len([text for text in texts if text]) > 10
    assert [text for text in texts if MARK in text or str(NUMBER) in text] == []
    assert "*" not in str(public_values(settings))
    assert MARK in str(secret_texts((await in_force(redis, settings, only_look=True)).settings))
    assert from_values(public_values(settings), settings) == settings


def toml(place: Place, value: str) -> str:
    """A file in which the field has this value, and another field a wrong one: a chat id may be a number."""
    if place[-1] == EACH:
        place, value = place[:-1], f"[{value}]"
    *tables, name = ("BTC/USDT" if part == EACH else part for part in place)
    head = f"[{'.'.join(json.dumps(part) for part in tables)}]\n" if tables else ""
    return f"quote = '?'\n{head}{name} = {value}\n"


def logged(settings: Settings, secret: str) -> list[str]:
    """What the terminal and the queue for Redis get of records that hold the secret in every form."""
    handler = log_setup.setup(secret_texts(settings), "test")
    logger = logging.getLogger("tasks.test")
    terminal = next(one for one in logging.getLogger("tasks").handlers if isinstance(one, logging.StreamHandler))
    stream = io.StringIO()
    terminal.setStream(stream)
    try:
        raise ValueError(f"refused: {secret}")
    except ValueError:
        logger.exception("failed with %s", secret, extra={"url": f"https://host/?key={quote(secret, safe='')}"})
    logger.info(f"{quote(secret)} {quote_plus(secret)}", extra={"given": {"key": secret}, "body": json.dumps(secret)})
    password = next((part for part in secret_texts(settings) if MARK in part and len(part) < len(secret)), secret)
    logger.warning("password %s", password)
    queued = [str(entry) for entry in handler._queue]
    assert len(queued) == 3
    assert "***" in stream.getvalue()
    return [stream.getvalue(), *queued]


def test_the_password_of_a_url_is_hidden_alone() -> None:
    """As it is written in the URL, and as the server gets it."""
    texts = secret_texts(Settings(redis_url=SecretStr("redis://:p%40ss-word@host/0")))
    assert {"redis://:p%40ss-word@host/0", "p%40ss-word", "p@ss-word"} <= set(texts)
    assert "pa ss/1" in secret_texts(Settings(redis_url=SecretStr("unix:///run/r.sock?password=pa%20ss%2F1")))


def test_a_token_in_a_service_s_url_is_hidden_alone() -> None:
    """As a library's error shows it: a part of the path, of the address, or of the query. Words of a URL stay."""
    alerts: dict[str, Any] = {
        "apprise": {"urls": ["tgram://123456789:AAHdqTcvCH/chat", "json://127.0.0.1/hooks/Zq7S3CRET0001"]}
    }
    alerts |= {"heartbeat_url": "https://hc-ping.com/start/5f3c1a2e-77aa?key=abcdefghijkl"}
    texts = set(secret_texts(Settings.model_validate({"alerts": alerts})))
    assert {"AAHdqTcvCH", "Zq7S3CRET0001", "5f3c1a2e-77aa", "abcdefghijkl"} <= texts
    assert not {"hooks", "start", "hc-ping.com", "127.0.0.1"} & texts
    of_file = Settings(database_url=SecretStr("sqlite+aiosqlite:////var/lib/gridflow/history.db"))
    assert "history.db" not in secret_texts(of_file)


def test_secrets_are_found_wherever_they_are() -> None:
    """In optional, annotated and nested fields, in lists, in tables, and in tables of sections."""

    class Inner(BaseModel):
        token: Annotated[SecretStr, AfterValidator(lambda secret: secret)] | None = None
        name: str = ""

    class Outer(BaseModel):
        plain: SecretStr = SecretStr("")
        section: Inner | None = None
        many: list[SecretStr] = []
        by_name: dict[str, SecretStr] = {}
        sections: dict[str, Annotated[Inner, "meaning"]] = {}
        none: dict[str, str] = {}

    assert list(secret_fields(Outer)) == [
        ("plain",),
        ("section", "token"),
        ("many", EACH),
        ("by_name", EACH),
        ("sections", EACH, "token"),
    ]
