"""Passwords and tokens of the HTTP API."""

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from tasks.base.errors import StateError
from tasks.control.access import FILE_NAME, Access, AccessDenied
from tasks.settings.model import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """A time that a test sets."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """It is the first of January."""
    return Clock()


@pytest.fixture
def access(tmp_path: Path, clock: Clock) -> Access:
    """The access of an account whose state folder is new."""
    return Access(Settings(), tmp_path, clock)


def test_the_first_password_is_made_once_and_only_its_owner_may_read_the_file(access: Access, tmp_path: Path) -> None:
    """The file holds no password."""
    password = access.begin()
    assert password
    assert access.begin() is None
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert password not in (tmp_path / FILE_NAME).read_text()
    assert access.check(access.sign_in(password, HOUR).text)["user_id"] == "operator"
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_two_processes_that_start_at_once_make_one_password(tmp_path: Path) -> None:
    """The slower one keeps what the faster one has made."""
    with ThreadPoolExecutor() as threads:
        made = list(threads.map(lambda _: Access(Settings(), tmp_path).begin(), range(8)))
    (password,) = [one for one in made if one]
    Access(Settings(), tmp_path).sign_in(password, HOUR)


def test_a_wrong_password_gives_no_token(access: Access) -> None:
    """And the error does not repeat it."""
    access.begin()
    with pytest.raises(AccessDenied, match="password is wrong") as caught:
        access.sign_in("hunter22", HOUR)
    assert "hunter22" not in str(caught.value)


def test_nobody_has_a_password_yet(access: Access) -> None:
    """No default opens anything."""
    with pytest.raises(StateError, match="nobody has a password yet"):
        access.sign_in("", HOUR)


def test_a_token_ends_with_its_time(access: Access, clock: Clock) -> None:
    """By the injected clock."""
    token = access.token(HOUR)
    assert token.expires == NOW + HOUR
    clock.now = NOW + HOUR - timedelta(seconds=1)
    access.check(token.text)
    clock.now = NOW + HOUR
    with pytest.raises(AccessDenied, match="expired"):
        access.check(token.text)


def forge(**changes: Any) -> Callable[[Access, dict[str, Any]], str]:
    """A token with other claims, under the right key."""

    def made(access: Access, claims: dict[str, Any]) -> str:
        found = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(found, access._signing_key(access._read()), "HS256")

    return made


FORGED: dict[str, Callable[[Access, dict[str, Any]], str]] = {
    "nothing": lambda _access, _claims: "",
    "no token": lambda _access, _claims: "a.b.c",
    "another key": lambda _access, claims: jwt.encode(claims, "x" * 32, "HS256"),
    "alg none": lambda _access, claims: jwt.encode(claims, "", "none"),
    "another algorithm": lambda access, claims: jwt.encode(claims, access._signing_key(access._read()) * 2, "HS512"),
    "another issuer": forge(iss="gridflow/other"),
    "no issuer": forge(iss=None),
    "no end": forge(exp=None),
    "an end that is no number": forge(exp="never"),
    "no id": forge(jti=None),
    "no user": forge(user_id=None),
    "no key": forge(key=None),
    "the key of another password": forge(key="0" * 32),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_is_refused(access: Access, kind: str) -> None:
    """Whatever is wrong with it."""
    claims = dict(access.check(access.token(HOUR).text))
    with pytest.raises(AccessDenied):
        access.check(FORGED[kind](access, claims))


def test_a_revocation_and_a_new_password_end_earlier_tokens(access: Access) -> None:
    """The old password is wrong then."""
    old = access.begin()
    assert old
    first = access.token(HOUR).text
    access.revoke_all()
    second = access.sign_in(old, HOUR).text
    new = access.new_password()
    for token in (first, second):
        with pytest.raises(AccessDenied, match="revoked"):
            access.check(token)
    with pytest.raises(AccessDenied):
        access.sign_in(old, HOUR)
    access.check(access.sign_in(new, HOUR).text)


def test_password_and_secret_of_the_environment(tmp_path: Path) -> None:
    """Another password or secret ends tokens; the command does not change what the environment says."""

    def having(**dashboard: str) -> Access:
        return Access(Settings.model_validate({"dashboard": dashboard}), tmp_path)

    access = having(password="correct horse", token_secret="s" * 32)
    assert access.begin() is None
    token = access.sign_in("correct horse", HOUR).text
    having(password="correct horse", token_secret="s" * 32).check(token)
    for other in (having(password="another horse", token_secret="s" * 32), having(password="correct horse")):
        with pytest.raises(AccessDenied):
            other.check(token)
    with pytest.raises(StateError, match="comes from the environment"):
        access.new_password()


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"secret": "s"})])
def test_a_broken_file_opens_nothing(access: Access, tmp_path: Path, text: str) -> None:
    """It names the remedy."""
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(StateError, match="Delete it"):
        access.token(HOUR)


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(days=366), timedelta(seconds=-1)])
def test_how_long_a_token_lasts_is_bounded(access: Access, lasts: timedelta) -> None:
    """More than nothing, at most a year."""
    with pytest.raises(ValueError, match="at most 365 days"):
        access.token(lasts)
