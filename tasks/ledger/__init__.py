"""The ledger: fills, positions, grid profit and PnL, in exact Decimal arithmetic."""
