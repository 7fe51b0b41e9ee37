"""The distance of neighbouring levels, of the kinds that have one. Pure."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from tasks.settings.grids.common import GridKind

Spacing = Annotated[Decimal, Field(gt=0, lt=1)]


class SpacedLevels(GridKind):
    """Levels that are a share apart."""

    spacing_pct: Spacing | None = Field(
        None,
        description="distance of neighbouring levels as a share, above 0, below 1; absent: of an adaptive grid by "
        "volatility, 0.025 + 0.1 × (annual volatility − 0.25); of an infinity grid 0.01",
        examples=["0.02"],
    )
