"""The script that Streamlit runs for every visitor: navigation, and the page of the URL."""

import streamlit as st

from dashboard.screens import allocation, grid, logs, overview, settings, trades

st.set_page_config(page_title="Gridflow", page_icon="📊", layout="wide")


def _overview() -> None:
    overview.show()


pages = [
    st.Page(overview.show, title="Overview", icon=":material/dashboard:", default=True),
    st.Page(grid.show, title="Grid", icon=":material/candlestick_chart:", url_path="grid"),
    st.Page(trades.show, title="Trades", icon=":material/swap_vert:", url_path="trades"),
    st.Page(allocation.show, title="Allocation", icon=":material/donut_large:", url_path="allocation"),
    st.Page(logs.show, title="Logs", icon=":material/article:", url_path="logs"),
    st.Page(settings.show, title="Settings", icon=":material/settings:", url_path="settings"),
    st.Page(_overview, title="Overview", url_path="overview", visibility="hidden"),  # the first page's address is "/"
]
st.navigation(pages, position="top").run()
