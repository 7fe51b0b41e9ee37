"""Paper exchange: simulated money on recorded, made-up or live prices, behind ccxt's own API.

All state is in Redis, so every process sees one exchange: one account, one set of orders, one market clock.
"""
