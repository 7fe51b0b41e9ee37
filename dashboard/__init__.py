"""The dashboard: one ASGI app with the Streamlit screens and /metrics."""
