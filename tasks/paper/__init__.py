"""Paper exchange: simulated money on recorded, synthetic or live prices, behind ccxt's API.

All state is in Redis, so every process sees one exchange: one account, one set of orders, one market clock.
"""
