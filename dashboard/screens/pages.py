"""All screens with their titles and addresses."""

import streamlit as st

from dashboard.screens import allocation, backtest, grid, logs, overview, settings, trades
from dashboard.settling import settle


def _overview() -> None:
    overview.show()


def run() -> None:
    """Draw the navigation, and the screen of the URL."""
    pages = [
        st.Page(overview.show, title="Overview", icon=":material/dashboard:", default=True),
        st.Page(grid.show, title="Grid", icon=":material/candlestick_chart:", url_path="grid"),
        st.Page(trades.show, title="Trades", icon=":material/swap_vert:", url_path="trades"),
        st.Page(allocation.show, title="Allocation", icon=":material/donut_large:", url_path="allocation"),
        st.Page(backtest.show, title="Backtest", icon=":material/history:", url_path="backtest"),
        st.Page(logs.show, title="Logs", icon=":material/article:", url_path="logs"),
        st.Page(settings.show, title="Settings", icon=":material/settings:", url_path="settings"),
        st.Page(_overview, title="Overview", url_path="overview", visibility="hidden"),  # the first page's is "/"
    ]
    st.navigation(pages, position="top").run()
    settle()
