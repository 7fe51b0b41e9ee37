"""The cost of base that leaves a cell. Pure, exact Decimal."""

from decimal import Decimal

from tasks.base.money import ZERO, floor_to
from tasks.grid.models import Cell

BASIS_STEP = Decimal("1e-8")


def freed_basis(cell: Cell, sold: Decimal) -> Decimal:
    """Cost of `sold` base of the cell: in proportion, rounded down to 1e-8 quote; all of it when nothing is left.

    Base that cost nothing goes first.
    """
    if sold >= cell.qty:
        return cell.basis
    return _share_of_lot(cell, max(sold - cell.earned, ZERO))


def recouped_basis(cell: Cell, sold: Decimal, net: Decimal) -> Decimal:
    """Cost that a recoup frees which sold `sold` base for `net` quote after fees: what it brought back.

    At least in proportion; all of it when nothing of the lot is left.
    """
    if sold >= cell.lot:
        return cell.basis
    return max(_share_of_lot(cell, sold), min(cell.basis, net))


def _share_of_lot(cell: Cell, sold: Decimal) -> Decimal:
    return floor_to(cell.basis * sold / cell.lot, BASIS_STEP) if sold else ZERO


def left_after(cell: Cell, sold: Decimal, freed: Decimal, *, recoups: bool = False) -> dict[str, Decimal]:
    """What the cell holds after `sold` base with a cost of `freed` left it: the fields that change.

    Base that cost nothing goes first, but a recoup takes it last. What is left without a cost is earned.
    """
    left, basis = max(cell.qty - sold, ZERO), cell.basis - freed
    earned = min(cell.earned, left) if recoups else max(cell.earned - sold, ZERO)
    return {"qty": left, "basis": basis, "earned": left if basis == 0 else earned}
