"""Loopback exchanges that speak OKX's and Bybit's spot REST protocols over the engine of tests.support.binance."""
