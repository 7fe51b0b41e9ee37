"""Backtests: the live decisions, funds rules and ledger over candles, without Redis and without an exchange."""
