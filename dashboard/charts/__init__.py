"""Chart specifications in ECharts' own words, drawn by Streamlit's bundled copy of it. Pure: JSON in, JSON out."""
