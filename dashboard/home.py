"""The script that Streamlit runs for every visitor: navigation, and the page of the URL."""

import streamlit as st

from dashboard.screens import allocation, logs, trades

st.set_page_config(page_title="Gridflow", page_icon="📊", layout="wide")


def _trades() -> None:
    trades.show()


pages = [
    st.Page(trades.show, title="Trades", icon=":material/swap_vert:", default=True),
    st.Page(allocation.show, title="Allocation", icon=":material/donut_large:", url_path="allocation"),
    st.Page(logs.show, title="Logs", icon=":material/article:", url_path="logs"),
    st.Page(_trades, title="Trades", url_path="trades", visibility="hidden"),  # the first page's address is "/"
]
st.navigation(pages, position="top").run()
