"""Time that passes only when nothing else is left to do, for a whole world of one event loop and one Redis server."""
