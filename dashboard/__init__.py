"""What a person sees: one ASGI app with the Streamlit screens and /metrics."""
