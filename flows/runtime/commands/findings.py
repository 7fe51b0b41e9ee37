"""What `check` finds and `up` refuses, before any process is started: one function for both."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from flows.runtime.commands.preflight import order_limit_notes
from tasks.base.errors import Problem
from tasks.exchange import listing
from tasks.exchange.listing import Listing
from tasks.exchange.models import Market
from tasks.funds.rebalancing import first_allocations
from tasks.grid.preflight import unfunded_grids
from tasks.grid.settings_fit import money_notes, unfit_grids
from tasks.settings.model import Settings
from tasks.settings.places import dotted


@dataclass(frozen=True)
class Findings:
    """`problems`: `up` refuses them. `notes`: what to know. `warnings`: what to change.

    `exchange`: whether the exchange was asked, in words; '' where nothing had to be asked. `answered`: whether its
    answer is known. `markets`: filters, `prices`: where symbols begin, as far as they are known.
    """

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    exchange: str = ""
    answered: bool = True
    markets: Mapping[str, Market] = field(default_factory=dict)
    prices: Mapping[str, Decimal] = field(default_factory=dict)


def find(settings: Settings, folder: Path, *, apart: bool = False) -> Findings:
    """Check grids, money, candle files and the exchange's list. Starts nothing that outlives the call.

    `folder`: the state folder, where the exchange's answer is kept. `apart`: ask it in a process of its own, and only
    where no answer of the last day is kept.
    """
    live = settings.live and settings.exchange.live
    spans_notes, prices, markets = ([], {}, {}) if live else _paper(settings)
    answer = _answer(settings, folder, apart) if live or settings.paper.market in ("auto", "live") else None
    if answer is not None and (live or answer.markets or settings.paper.market == "live"):
        markets, prices = answer.markets, {}  # its prices are not asked: only absolute ranges are checked then
    problems = [*_unlisted(settings, answer), *unfit_grids(settings, markets, prices)]
    if not problems:
        problems = unfunded_grids(settings, markets, prices, first_allocations(settings))
    notes = [
        *spans_notes,
        *order_limit_notes(settings, markets if live else {}),
        *money_notes(settings, prices),
    ]
    warnings = []
    if answer is not None and answer.may_withdraw:
        warnings.append(
            "The API key may withdraw. Gridflow never withdraws: take that right from the key on the exchange's page"
        )
    answered = answer is None or not answer.not_asked
    return Findings(tuple(problems), tuple(notes), tuple(warnings), _words(settings, answer), answered, markets, prices)


def _paper(settings: Settings) -> tuple[list[str], dict[str, Decimal], dict[str, Market]]:
    """Notes on the candle files, first prices and filters of a paper market, as far as they are known now."""
    from tasks.paper import first_look  # reads candle files

    symbols, paper = list(settings.symbols), settings.paper
    if paper.market == "replay" and paper.data is not None:
        found = first_look.inspections(paper.data, symbols)
        spans = {symbol: inspection.spans for symbol, inspection in found.items()}
        notes = first_look.candle_notes(paper.data, found)
    else:
        spans, notes = {}, []
    source = "synthetic" if paper.market == "auto" else paper.market  # what auto becomes without the exchange
    prices = first_look.first_prices(spans, symbols, source)
    markets = {symbol: first_look.paper_market(symbol, price, settings.exchange) for symbol, price in prices.items()}
    return notes, prices, markets


def _answer(settings: Settings, folder: Path, apart: bool) -> Listing:
    """The exchange's answer; an earlier one where it cannot be asked now."""
    earlier = listing.kept(settings, folder)
    if apart and earlier is not None and listing.is_fresh(earlier) and not settings.live:
        return earlier
    found = asyncio.run(listing.asked_apart(settings) if apart else listing.ask(settings))
    if not found.not_asked:
        listing.keep(found, folder)
        return found
    return found if earlier is None else earlier.model_copy(update={"not_asked": found.not_asked})


def _unlisted(settings: Settings, answer: Listing | None) -> list[Problem]:
    if answer is None:
        return []
    remedy = "Check the name on the exchange's page, or remove the table"
    return [
        Problem(dotted(("symbols", symbol)), symbol, f"{settings.exchange.id} does not list it", remedy)
        for symbol in answer.unlisted
        if symbol in settings.symbols
    ]


def _words(settings: Settings, answer: Listing | None) -> str:
    if answer is None:
        return ""
    name = settings.exchange.id
    if not answer.not_asked:
        return f"{name} answered: it lists {len(answer.markets)} of {len(settings.symbols)} symbols"
    if not answer.at_ms:
        return f"{name} was not asked ({answer.not_asked}): its list of symbols and its minimums are not checked"
    day = f"{datetime.fromtimestamp(answer.at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{name} was not asked ({answer.not_asked}): checked with its answer of {day}"
