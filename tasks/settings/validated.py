"""Settings after validation, with the places of the fields that failed it. Pure."""

from dataclasses import dataclass

from tasks.settings.model import Settings
from tasks.settings.places import Place
from tasks.settings.section import IsValid


@dataclass(frozen=True)
class Validated:
    """Settings, and the places of invalid fields.

    An invalid field, and everything below it, holds a default instead of what the user wrote. No rule may read it.
    """

    settings: Settings
    invalid: frozenset[Place] = frozenset()

    def is_valid(self, *names: str) -> bool:
        """Whether all the named top-level fields passed validation."""
        return self.section()(*names)

    def section(self, *section: str) -> IsValid:
        """The `IsValid` of a section, for example of `section("symbols", "BTC/USDT")`."""

        def is_valid(*names: str) -> bool:
            return not any(self._is_invalid((*section, name)) for name in names)

        return is_valid

    def _is_invalid(self, place: Place) -> bool:
        return any(place[:length] in self.invalid for length in range(len(place) + 1))
