"""Alembic migrations of the history. A migration is never changed once it has been released."""
