"""The script that Streamlit runs for every visitor."""

import streamlit as st

from dashboard.screens import pages

st.set_page_config(page_title="Gridflow", page_icon="📊", layout="wide")
pages.run()
