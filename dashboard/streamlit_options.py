"""Streamlit's own options that protect the dashboard, whatever a user's Streamlit file or environment says."""

from collections.abc import Sequence

from streamlit import config

_OWN_NAMES = ("localhost", "127.0.0.1", "::1", "*.localhost")


def protect(hosts: Sequence[str]) -> None:
    """No statistics are sent, no agent interface answers, and web sockets are opened for known names only.

    `hosts`: names beside those of this machine.
    """
    config.set_option("browser.gatherUsageStats", False)
    config.set_option("server.enableAgentApi", False)
    config.set_option("server.allowedHosts", [*_OWN_NAMES, *hosts])
