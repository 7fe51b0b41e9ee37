"""Settings of which some fields were refused, and what a rule may look at. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tasks.settings.model import Settings
from tasks.settings.section import Place

Sound: TypeAlias = Callable[..., bool]  # whether all fields so named may be looked at


def all_sound(*names: str) -> bool:  # noqa: ARG001 - a Sound
    """The `Sound` of settings that hold no refused field."""
    return True


@dataclass(frozen=True)
class Known:
    """Settings in which the fields at `faulty`, and all below them, hold stand-ins that no rule may look at."""

    settings: Settings
    faulty: frozenset[Place] = frozenset()

    def within(self, *section: str) -> Sound:
        """Whether fields of the section (none: of the whole) are sound, by their names."""

        def sound(*names: str) -> bool:
            return not any(self._is_faulty((*section, name)) for name in names)

        return sound

    def _is_faulty(self, place: Place) -> bool:
        return any(place[:length] in self.faulty for length in range(len(place) + 1))
