"""A batch of orders of one symbol on its way through the place script."""

from collections.abc import Sequence

from tasks.paper.filters import Filters
from tasks.paper.orders import Entry, broken_filter, place_args
from tasks.paper.refusals import BY_CODE, Refusal, filter_refusal
from tasks.paper.scripts import PlaceCode
from tasks.paper.units import Fees


class Batch:
    """Orders that pass the filters go to the script; the others are refused here, at the same price."""

    def __init__(self, entries: Sequence[Entry], filters: Filters, fees: Fees) -> None:
        self.symbol = entries[0].symbol
        self._entries, self._filters, self._fees = list(entries), filters, fees
        self._refused: dict[int, Refusal] = {}

    def args(self, price: int) -> list[str]:
        """Script arguments at `price` (units); asked again where the price has moved meanwhile."""
        self._refused = {}
        args = []
        for number, entry in enumerate(self._entries):
            broken = broken_filter(entry, self._filters, price)
            if broken:
                self._refused[number] = filter_refusal(broken)
            else:
                args += place_args(entry, self._fees, price)
        return args

    def outcomes(self, texts: Sequence[str]) -> list[Refusal | str]:
        """Per order, in the order asked: its record, or why it was refused."""
        answers = iter(texts)
        return [self._refused.get(number) or _outcome(next(answers)) for number in range(len(self._entries))]


def _outcome(text: str) -> Refusal | str:
    code, _, record = text.partition("|")
    return record if int(code) == PlaceCode.OK else BY_CODE[PlaceCode(int(code))]
