"""The fault runs find faults that are planted in the program. `python -m tests.support.mutations` hunts all of them."""

import pytest

from tests.support.mutations import DoesNotApply, changed, hunt
from tests.support.planted_faults import FAULTS, Planted

QUICK = ("journal skipped", "reservation released twice", "a fill is not noted as booked")
SEEDS = range(10)


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.name)
def test_each_planted_fault_still_applies(planted: Planted) -> None:
    """Its text stands in the program exactly once, and it changes something."""
    assert planted.before != planted.after
    assert planted.after in changed(planted)


def test_a_fault_that_no_longer_applies_is_an_error() -> None:
    """The program changed there: the fault must be planted anew."""
    gone = Planted("gone", "tasks/funds/reserve.lua", "no such line", "")
    with pytest.raises(DoesNotApply, match=r"tasks/funds/reserve\.lua has 0 times"):
        hunt(gone, SEEDS)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_found(name: str) -> None:
    """Within a few seeds, and the seed says what is wrong."""
    (planted,) = [one for one in FAULTS if one.name == name]
    found = hunt(planted, SEEDS)
    assert found.seed is not None
    assert found.said


def test_there_are_many_planted_faults() -> None:
    """Each with a name of its own."""
    assert len({planted.name for planted in FAULTS}) == len(FAULTS) >= 20
