"""The market as one tick sees it: snapshots, volatility, the time to the next look."""
