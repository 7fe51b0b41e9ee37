"""`gridflow token`."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.runtime.cli import cli
from tasks.control.access import Access, AccessDenied
from tasks.settings.model import Settings


def token(*options: str) -> Result:
    """Run the command; standard output and error apart."""
    return CliRunner().invoke(cli, ["token", *options])


def access() -> Access:
    """What the dashboard of the same state folder checks tokens with."""
    return Access(Settings(), Path(os.environ["GRIDFLOW_STATE"]))


def test_its_last_line_is_a_token_and_the_first_call_shows_the_password() -> None:
    """Once; a later call prints the token alone."""
    first = token("--expires", "12h")
    assert first.exit_code == 0, first.output
    said, password = first.stdout.splitlines()[0].rsplit(" ", 1)
    assert said == "Password of the API, shown only now:"
    access().sign_in(password, timedelta(hours=1))
    second = token()
    (last,) = second.stdout.splitlines()
    for text in (first.stdout.splitlines()[-1], last):
        assert access().check(text)["user_id"] == "operator"


def test_json() -> None:
    """One object; the password only where it is new."""
    found = json.loads(token("--json", "--expires", "30m").stdout)
    assert {"token", "expires", "password"} == found.keys()
    ends = datetime.fromisoformat(found["expires"])
    assert timedelta(minutes=29) < ends - datetime.now(UTC) <= timedelta(minutes=30)
    assert "password" not in json.loads(token("--json").stdout)


def test_revoke_all_and_a_new_password_end_tokens() -> None:
    """The commands say so."""
    before = token().stdout.splitlines()[-1]
    assert token("--revoke-all").stdout == "Every token has ended.\n"
    with pytest.raises(AccessDenied, match="revoked"):
        access().check(before)
    between = token().stdout.splitlines()[-1]
    renewed = token("--new-password").stdout.splitlines()
    assert renewed[0].startswith("Password of the API, shown only now: ")
    with pytest.raises(AccessDenied, match="revoked"):
        access().check(between)
    access().check(renewed[-1])


@pytest.mark.parametrize("text", ["0h", "-1h", "1", "h", "1w", "366d", "1.5h", "nan", "9" * 9 + "s"])
def test_a_wrong_time_is_refused(text: str) -> None:
    """With the value, the rule and an example; nothing is made."""
    done = token(f"--expires={text}")
    assert done.exit_code == 2
    assert f"{text!r} must be a number and s, m, h or d, at most 365d. Example: 12h" in done.stderr
    assert not (Path(os.environ["GRIDFLOW_STATE"]) / "access.json").exists()


def test_revoking_twice_in_one_call_is_refused() -> None:
    """A new password ends every token already."""
    done = token("--revoke-all", "--new-password")
    assert (done.exit_code, "leave --revoke-all out" in done.stderr) == (2, True)
