"""The settings as a page shows them: every field with its value and meaning, secrets hidden, and what is in force."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from tasks.base.errors import ConfigError, Problem
from tasks.base.money import plain
from tasks.base.redis_client import RedisClient
from tasks.exchange.models import Frozen
from tasks.settings.differences import field_changes
from tasks.settings.in_force import published, shared_part
from tasks.settings.load import load
from tasks.settings.model import Settings
from tasks.settings.places import Place, dotted
from tasks.settings.secret_values import may_be_secret, worker_only

SECRET, UNSET, ELSEWHERE = "set, hidden", "not set", "known to the workers only"


class SettingRow(Frozen):
    """One setting. `is_default`: nobody set it, or set it to what it is anyway."""

    section: str
    name: str
    value: str
    meaning: str
    is_default: bool


class SettingDifference(Frozen):
    """A field of which the file and the settings in force say something else."""

    name: str
    in_file: str
    in_force: str


class SettingsPage(Frozen):
    """All settings. `problems`: of the file as it is now; with any, `rows` are those that this process began with."""

    rows: tuple[SettingRow, ...]
    problems: tuple[Problem, ...]
    version: int  # of the settings in force; 0 where none were published
    differences: tuple[SettingDifference, ...]


def setting_rows(settings: Settings) -> tuple[SettingRow, ...]:
    """Every field, section by section."""
    return tuple(_rows(settings, Settings(), ()))


def _rows(section: BaseModel, default: BaseModel | None, place: Place) -> Iterator[SettingRow]:
    inner: list[tuple[str, BaseModel, BaseModel | None]] = []
    for name, info in type(section).model_fields.items():
        value, usual = getattr(section, name), getattr(default, name, info.default)
        if isinstance(value, BaseModel):
            inner.append((name, value, usual if isinstance(usual, BaseModel) else None))
        elif isinstance(value, Mapping) and all(isinstance(one, BaseModel) for one in value.values()) and value:
            for key, one in value.items():
                yield from _rows(one, None, (*place, name, key))
        else:
            yield SettingRow(
                section=dotted(place) if place else "general",
                name=name,
                value=_value((*place, name), value),
                meaning=info.description or "",
                is_default=value == usual,
            )
    for name, value, usual in inner:
        yield from _rows(value, usual, (*place, name))


def _value(place: Place, value: Any) -> str:
    """The value as text; of a secret only whether it is set."""
    if any(place[: len(one)] == one for one in worker_only()):
        return ELSEWHERE
    if may_be_secret(place) or isinstance(value, SecretStr):
        return SECRET if value else UNSET
    return text_of(value)


def text_of(value: Any) -> str:
    """A value as the file writes it."""
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value)) or UNSET
    if isinstance(value, dict):
        return ", ".join(f"{name} = {text_of(one)}" for name, one in value.items()) or UNSET
    return str(value)


async def read_settings_page(own: Settings, redis: RedisClient, config: Path | None = None) -> SettingsPage:
    """The settings of the file as it is now, its problems, and where it differs from those in force. One round trip.

    `own`: the settings that this process began with.
    """
    problems: tuple[Problem, ...] = ()
    try:
        file = load(config, without_fields=worker_only())
    except ConfigError as error:
        file, problems = own, tuple(error.problems)
    shared, version = await published(redis, own.account)
    changes = field_changes(shared_part(file), shared) if version else ()
    differences = tuple(
        SettingDifference(name=one.field, in_file=text_of(one.before), in_force=text_of(one.after)) for one in changes
    )
    return SettingsPage(rows=setting_rows(file), problems=problems, version=version, differences=differences)
