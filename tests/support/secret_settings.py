"""Environment variables that set every secret of the settings, each to a text that is easy to find again."""

import json

from tasks.settings.places import EACH, Place
from tasks.settings.secret_values import secret_fields
from tasks.settings.sources import variable_name

MARK = "Zq7S3CRET"
# A stack has its own Redis and history database, and makes its dashboard's secrets itself.
# Addresses are refused at once: nothing listens on port 9.
_NOT_SET = (("redis_url",), ("database_url",))
_FORMS = {
    ("alerts", "telegram", "token"): "123456:{}",
    ("alerts", "heartbeat_url"): "http://127.0.0.1:9/?token={}",
    ("alerts", "apprise", "urls", EACH): "json://127.0.0.1:9/{}",
    ("alerts", "email", "host"): "{}.invalid",
    ("alerts", "email", "sender"): "{}@host.invalid",
    ("alerts", "email", "recipients", EACH): "{}@host.invalid",
}
_PLACES = {
    "GRIDFLOW_ALERTS__TELEGRAM__API_URL": "http://127.0.0.1:9",
    "GRIDFLOW_ALERTS__PUSHPLUS__API_URL": "http://127.0.0.1:9",
    "GRIDFLOW_ALERTS__TELEGRAM__COMMANDS": "false",
    "GRIDFLOW_ALERTS__FILLS": "each",
}


def secret_environment() -> dict[str, str]:
    """A variable for each secret that a stack can have."""
    found = dict(_PLACES)
    for number, place in enumerate(secret_fields()):
        if place not in _NOT_SET and place[0] not in ("symbols", "dashboard"):
            found[variable_name(place)] = _value(place, f"{MARK}{number:02}xyzxyzxyzxyzxyzxyzxyzxyz")
    return found


def _value(place: Place, secret: str) -> str:
    text = _FORMS.get(place, "{}").format(secret)
    return json.dumps([text]) if place[-1] == EACH else text
