"""The Allocation screen: how the pot is shared, what a rebalance moves, and what was refused. Pure."""

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from decimal import Decimal

from dashboard.present.html import Column, Html, Row, badge, bar, el, gain, html, moment, number, table, tile, tiles
from dashboard.present.notes import symbol_state
from dashboard.present.numbers import money, part_of, percent, whole
from dashboard.present.overview import STATE_KINDS
from tasks.funds.models import RebalanceReport, SymbolChange
from tasks.views.glossary import GLOSSARY
from tasks.views.line_models import BlockedView
from tasks.views.models import StatusView
from tasks.views.reasons import reason_of

_SHARES = (
    Column("Symbol"),
    Column("State"),
    number("Target", "where the strategy wants it now"),
    number("Allocated"),
    number("Used"),
    number("Reserved"),
    number("Free"),
    number("Committed share"),
    Column("Used, reserved"),
    number("Cap"),
    number("To resize", "resting buys whose size is still to follow the allocation"),
)
_MOVES = (Column("Symbol"), number("Now"), number("Then"), number("Moves"), number("Target"))
_HISTORY = (
    Column("Time"),
    Column("Reason"),
    Column("Strategy"),
    number("Version"),
    Column("Moved", wraps=True),
)
_COUNTS = (Column("Symbol"), Column("Reason"), number("Refused"), Column("What it means", wraps=True))
_REFUSALS = (Column("Time"), Column("Symbol"), Column("Reason"), number("Amount"), Column("Order"))


def pot_tiles(view: StatusView) -> Html:
    """The pot: what it may use, what is allocated, used, reserved and free, and how well it is used."""
    efficiency = part_of(view.used, view.allocated)
    return tiles(
        [
            tile(f"Pool, {view.quote}", money(view.pool), f"of funds of {money(view.capital + view.reinvested)}"),
            tile("Allocated", money(view.allocated), f"strategy {view.strategy}, version {view.limits_version}"),
            tile("Used", money(view.used), "cost of what is held"),
            tile("Reserved", money(view.reserved), "for open buy orders"),
            tile("Free", money(view.free), f"most ever committed {money(view.max_committed)}"),
            tile("Efficiency", percent(efficiency), "used / allocated", f"Usage: {GLOSSARY['usage']}"),
        ]
    )


def shares_table(view: StatusView, targets: Mapping[str, Decimal]) -> Html:
    """One row a symbol: its share of the pot."""
    rows = []
    for symbol in view.symbols:
        state = symbol_state(view, symbol)
        words = f"used {money(symbol.used)}, reserved {money(symbol.reserved)} of {money(symbol.allocated)}"
        parts = {"gf-used": symbol.used, "gf-reserved": symbol.reserved}
        whole_share = max(symbol.allocated, symbol.committed)
        rows.append(
            Row(
                (
                    symbol.symbol,
                    badge(state, STATE_KINDS.get(state, "plain")),
                    money(targets.get(symbol.symbol)),
                    money(symbol.allocated),
                    money(symbol.used),
                    money(symbol.reserved),
                    money(symbol.free),
                    percent(part_of(symbol.committed, symbol.allocated)),
                    bar(parts, whole_share, words),
                    money(symbol.cap),
                    whole(symbol.to_resize) if symbol.to_resize else "",
                )
            )
        )
    return table("Shares of the pot", _SHARES, rows, "No symbols yet.", tall=True)


def moved(changes: Iterable[SymbolChange]) -> list[SymbolChange]:
    """The changes that move something that can be seen, the largest first."""
    found = [one for one in changes if abs(one.after - one.before) >= Decimal("0.005")]
    return sorted(found, key=lambda one: (-abs(one.after - one.before), one.symbol))


def moves_table(name: str, changes: Iterable[SymbolChange], empty: str) -> Html:
    """What a rebalance moves: the allocations before and after it."""
    rows = [
        (one.symbol, money(one.before), money(one.after), gain(one.after - one.before), money(one.target))
        for one in moved(changes)
    ]
    return table(name, _MOVES, rows, empty, tall=True)


def rebalances_table(reports: Iterable[RebalanceReport], zone: tzinfo) -> Html:
    """The newest rebalances, what each moved."""
    rows = []
    for report in reports:
        changes = moved(report.changes)
        parts = [html([f"{one.symbol} ", gain(one.after - one.before)]) for one in changes[:6]]
        more = f" and {len(changes) - 6} more" if len(changes) > 6 else ""
        line = html([part for one in parts for part in (one, ", ")][:-1]) if parts else "nothing that can be seen"
        rows.append(
            (moment(report.at_ms, zone), report.reason, report.strategy, str(report.version), html([line, more]))
        )
    return table("Rebalances", _HISTORY, rows, "None yet.", tall=True)


def blocked_table(found: Mapping[tuple[str, str], int]) -> Html:
    """Refusals by symbol and reason, most first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    rows = [(symbol, reason, whole(count), reason_of(reason).why) for (symbol, reason), count in ordered]
    return table("Refused orders by reason", _COUNTS, rows, "None so far.", tall=True)


def refusals_table(found: Iterable[BlockedView], zone: tzinfo) -> Html:
    """The newest refusals."""
    rows = [(moment(one.at_ms, zone), one.symbol, one.reason, money(one.amount), one.order_id) for one in found]
    return table("The newest refused orders", _REFUSALS, rows, "None so far.", tall=True)


def following(whys: Mapping[str, str]) -> Html:
    """What does not follow the allocations in force yet."""
    lines = [el("li", f"{symbol}: {why}") for symbol, why in whys.items()]
    return html([el("p", el("strong", "The allocations are being followed.")), el("ul", lines)]) if lines else Html("")
