"""Where the dashboard may listen: freely on this machine; elsewhere with a password, and TLS or a proxy that has it."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.base.addresses import is_loopback
from tasks.base.errors import ConfigError, Problem
from tasks.settings.model import DashboardSettings

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - names of the addresses, nothing listens here


class Listening(NamedTuple):
    """An address to listen on, the option that named it, and whether the server itself speaks TLS there."""

    host: str
    option: str = "--host"
    has_tls: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host.startswith("unix:") or is_loopback(self.host)


def check_exposure(listening: Listening, settings: DashboardSettings, *, has_password: bool) -> None:
    """Raise ConfigError for an address that others can reach, where it is not protected enough."""
    if listening.is_local:
        return
    field, value = f"dashboard ({listening.option})", listening.host or "every address"
    found = []
    if not has_password:
        remedy = "Run `gridflow token --new-password`, or set GRIDFLOW_DASHBOARD__PASSWORD"
        found.append(Problem(field, value, "an address beyond this machine needs a password first", remedy))
    if not (listening.has_tls or settings.trusted_proxies):
        rule = "an address beyond this machine needs TLS, or a proxy that has it"
        remedy = (
            "Set dashboard.tls_certificate and tls_key, or dashboard.trusted_proxies; or use an SSH tunnel to 127.0.0.1"
        )
        found.append(Problem(field, value, rule, remedy))
    if listening.host in _EVERYWHERE and not settings.hosts:
        rule = "listening on every address needs the names that browsers use"
        found.append(Problem(field, value, rule, 'Set dashboard.hosts, for example ["grid.example.org"]'))
    if found:
        raise ConfigError(found, "the address that the dashboard is to listen on")


def allowed_hosts(settings: DashboardSettings, listening: Sequence[Listening]) -> tuple[str, ...]:
    """The names, beside those of this machine, that a request's Host header may hold."""
    bound = (one.host.strip("[]") for one in listening if not one.is_local and one.host not in _EVERYWHERE)
    return tuple(dict.fromkeys((*settings.hosts, *bound)))
