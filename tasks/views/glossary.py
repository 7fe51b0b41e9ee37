"""One definition for each word that status, screens, JSON and the README use. Pure.

Screens show them as help, `gridflow glossary` prints them, and the README's table is checked against them.
"""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "pot": "The money of one account, in quote: its capital, and realised profit where reinvest is set.",
    "pool": "The part of the pot that may be used: (capital + reinvested) × global_max_usage.",
    "quote, base": "In BTC/USDT, USDT is the quote and BTC the base. Amounts of money are in quote.",
    "grid, level, cell": "A grid has price levels. A cell lies between two of them: it buys at the lower one and sells "
    "at the upper one.",
    "round": "One buy of a cell and the sell that closes it.",
    "place": "Where the price is in a grid's range: 0 % at the lowest level, 100 % at the "
    "highest, or above or below it.",
    "capital": "Your own money in the pot: total_funds + invested − withdrawn.",
    "invested, withdrawn": "Money that `gridflow invest` put in, and profit that `gridflow withdraw-profit` took out.",
    "reinvested": "Realised profit, or loss, that the pool has in it. It is counted once, in the profit.",
    "equity": "Capital plus the profit.",
    "profit": "How much the equity has changed: grid profit plus floating, less missing. Fees are taken off.",
    "grid profit": "What closed rounds earned: proceeds less cost, after the fees of the buy and of the sell.",
    "floating": "What the inventory is worth at the newest price, less what it cost. The fee of its buys is taken off; "
    "the fee of a sell that has not happened is not.",
    "earned in base": "Base that rounds kept because the settings say earn = base: a sell only brings back the cost of "
    "its lot. What is kept cost nothing, so its worth is in floating, not in grid profit.",
    "fees": "All fees paid, in quote. They are in grid profit and floating already.",
    "missing": "Cost of base that left the account without a sell. It lowers the profit; it is not in "
    "grid profit or floating.",
    "inventory": "The base that the cells hold.",
    "allocated": "The symbol's share of the pool.",
    "used": "What the inventory cost.",
    "reserved": "Money held for resting buys, fees included.",
    "committed": "used + reserved.",
    "free": "allocated − committed; of the pot: pool − committed.",
    "usage": "used ÷ allocated. A rebalance starts where it differs by more than 0.3 between symbols.",
    "committed share": "committed ÷ allocated; of the pot: committed ÷ pool.",
    "cap": "The most that a symbol may be allocated: max_usage_pct × (capital + reinvested).",
    "tick": "One pass for one symbol: read the exchange, book fills, plan, place and cancel orders.",
    "window": "One Prefect run that ticks one symbol for some minutes.",
    "dark": "A symbol that should be ticked and that nobody ticks.",
    "market time": "The time of the newest candle on a replayed or synthetic market. Live prices have wall time.",
}


def explained(*words: str) -> str:
    """The definitions of these words, a line each."""
    return "\n".join(f"{word}: {GLOSSARY[word]}" for word in words)
