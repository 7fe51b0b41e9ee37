"""A loopback exchange that speaks Binance's spot REST protocol, for tests with the real ccxt client."""
