"""Stops, limits and guards of a symbol: what they forbid, and when they fire. Pure."""
