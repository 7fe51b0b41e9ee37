"""Order slots: which cycle of which cell and purpose was journalled last. Pure.

A slot `<grid>.<level>:<purpose>` holds the highest cycle ever journalled in it. For a grid that is no
longer in force, one number is kept under the grid's id: the highest cycle of its slots. Should the grid come back,
every cell starts above it. After Redis went back in time the slot `*` holds a cycle that every new grid starts above.
"""

from collections.abc import Collection, Mapping

from tasks.exchange.order_ids import Purpose, grid_of

EVERY_SLOT = "*"


def order_slot(cell_key: str, purpose: Purpose) -> str:
    """The slot of a cell's orders of one purpose."""
    return f"{cell_key}:{purpose}"


def cell_of(slot: str) -> str:
    """The cell a slot belongs to."""
    return slot.rpartition(":")[0]


def first_cycle(slots: Mapping[str, int], grid_id: str) -> int:
    """The first cycle that no order of the grid has used."""
    whole = (grid_id, EVERY_SLOT)
    used = [cycle for slot, cycle in slots.items() if slot in whole or grid_of(cell_of(slot)) == grid_id]
    return max(used, default=-1) + 1


def compacted(
    slots: Mapping[str, int], live_cells: Collection[str], grid_ids: Collection[str]
) -> tuple[list[str], dict[str, int]]:
    """Slots to delete, and the cycle to keep by grid. `live_cells` and the cells of `grid_ids` keep their slots."""
    gone: list[str] = []
    kept: dict[str, int] = {}
    for slot, cycle in slots.items():
        cell = cell_of(slot)
        if not cell or cell in live_cells or grid_of(cell) in grid_ids:
            continue
        old_grid = grid_of(cell)
        gone.append(slot)
        kept[old_grid] = max(kept.get(old_grid, -1), slots.get(old_grid, -1), cycle)
    return gone, kept
