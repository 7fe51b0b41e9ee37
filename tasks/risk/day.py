"""The account's loss of a day against its limit. Pure."""

from datetime import UTC, datetime
from decimal import Decimal

from tasks.exchange.models import Frozen


class DayMarks(Frozen):
    """One day of an account.

    `day`: in UTC, `2026-01-31`. `base`: profit (quote) at its first look. `fired`: the limit was reached.
    """

    day: str
    base: Decimal
    fired: bool = False


def judge_day(
    marks: DayMarks | None, profit: Decimal, limit: Decimal | None, now_ms: int
) -> tuple[DayMarks, Decimal | None]:
    """The marks as they are now, and the loss where it reaches the limit for the first time today, else None.

    `profit`: of the account since its books were opened, in quote. `limit`: in quote; None for none.
    """
    today = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")
    if marks is None or marks.day != today:
        marks = DayMarks(day=today, base=profit)
    loss = marks.base - profit
    if limit is None or marks.fired or loss < limit:
        return marks, None
    return marks.model_copy(update={"fired": True}), loss
