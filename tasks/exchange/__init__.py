"""The exchange behind one port: the ccxt client, and a paper exchange that ccxt's own API drives."""
