"""Results that are remembered by the identity of their arguments."""

import gc
import weakref
from decimal import Decimal

import pytest

from tasks.base.remembering import MOST_KEPT, by_identity
from tasks.grid.models import Size


def size(quote: int) -> Size:
    """A record of its own."""
    return Size.model_validate({"quote": quote})


def test_a_function_is_asked_once_for_the_same_objects() -> None:
    """Equal objects are others: they give an equal result."""
    asked: list[object] = []

    @by_identity
    def worth(one: Size, other: Size) -> tuple[Size, Size]:
        asked.append(one)
        return one, other

    ten, more = size(10), size(20)
    assert worth(ten, more) is worth(ten, more)
    assert len(asked) == 1
    assert worth(size(10), more) == worth(ten, more)
    assert worth(more, ten) == (more, ten)
    assert len(asked) == 3


def test_arguments_live_as_long_as_their_result() -> None:
    """Else an object made later could have the id of one that has gone, and get its result. What is kept is bounded."""

    @by_identity
    def doubled(one: Size) -> Size:
        return one.weighted(Decimal(2))

    first = size(1)
    gone = weakref.ref(first)
    assert doubled(first) == size(2)
    del first
    gc.collect()
    assert gone() is not None
    for number in range(1, MOST_KEPT + 1):
        assert doubled(size(number)) == size(2 * number)
    gc.collect()
    assert gone() is None


def test_what_it_raises_is_raised_again() -> None:
    """A failure is no result."""
    asked: list[Size] = []

    @by_identity
    def failing(one: Size) -> Size:
        asked.append(one)
        raise ValueError(one)

    one = size(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="quote"):
            failing(one)
    assert len(asked) == 2


def test_arguments_are_given_by_position() -> None:
    """Names would be left out of what the result is kept under."""
    with pytest.raises(TypeError, match="by position"):
        by_identity(size)(quote=1)
