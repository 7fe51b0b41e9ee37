"""`gridflow token`: tokens and the password of the HTTP API."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from flows.runtime.commands.options import common_options, json_option
from tasks.settings.environment import state_dir
from tasks.settings.load import load
from tasks.settings.secret_values import worker_only

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Lasts(click.ParamType[timedelta]):
    """How long a token lasts: a whole number and s, m, h or d; at most 365 days."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time span."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,7})([smhd])", str(value))
        lasts = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
        if not timedelta() < lasts <= timedelta(days=365):
            self.fail(f"{value!r} must be a number and s, m, h or d, at most 365d. Example: 12h", param, ctx)
        return lasts


@click.command()
@common_options
@json_option
@click.option(
    "--expires", type=Lasts(), help="How long the token lasts: 30m, 12h, 7d. [default: dashboard.token_hours]"
)
@click.option("--revoke-all", is_flag=True, help="End every token that was given until now; prints no new one.")
@click.option("--new-password", is_flag=True, help="Make a new password, which ends every token; prints it once.")
def token(
    config: Path | None,
    state: Path | None,
    as_json: bool,
    expires: timedelta | None,
    revoke_all: bool,
    new_password: bool,
) -> None:
    """Print a token for the HTTP API as the last line.

    Use it as `Authorization: Bearer TOKEN`. Whoever may read the state folder may have one.
    """
    from tasks.control.access import Access  # imports argon2 and PyJWT

    if revoke_all and new_password:
        raise click.UsageError("--new-password ends every token already: leave --revoke-all out")
    settings = load(config, without_fields=worker_only())
    access = Access(settings, state_dir(state))
    if revoke_all:
        access.revoke_all()
        click.echo(json.dumps({"revoked": True}) if as_json else "Every token has ended.")
        return
    first = access.new_password() if new_password else access.begin()
    given = access.token(expires or timedelta(hours=float(settings.dashboard.token_hours)))
    if as_json:
        found = {"token": given.text, "expires": given.expires.isoformat(timespec="seconds")}
        click.echo(json.dumps(found | ({"password": first} if first else {})))
        return
    if first:
        click.echo(f"Password of the API, shown only now: {first}")
    click.echo(f"Token, until {given.expires:%Y-%m-%d %H:%M} UTC:", err=True)
    click.echo(given.text)
