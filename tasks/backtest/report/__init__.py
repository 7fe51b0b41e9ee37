"""The HTML report of trading over some time: of a backtest, or of live trades."""
