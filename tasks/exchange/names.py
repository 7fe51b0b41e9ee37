"""What our client order ids say. Pure."""

import re
from dataclasses import dataclass

from tasks.exchange.models import Side

_NAME = re.compile(r"^(g[0-9a-f]{8})-(\d{1,3})-([bs])-(\d+)$")


@dataclass(frozen=True)
class OrderName:
    """What a client order id says."""

    grid_id: str
    index: int
    side: Side
    cycle: int

    @property
    def cell_key(self) -> str:
        """The cell it belongs to."""
        return f"{self.grid_id}.{self.index}"


def parse_name(client_id: str) -> OrderName | None:
    """Grid, cell, side and cycle of one of our ids; None for anybody else's."""
    match = _NAME.match(client_id)
    if match is None:
        return None
    side = Side.BUY if match[3] == "b" else Side.SELL
    return OrderName(match[1], int(match[2]), side, int(match[4]))
