"""The books: each fill becomes an entry; positions, grid profit and PnL follow, exact to the last digit."""
