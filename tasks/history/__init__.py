"""The durable record of all that happened: outbox in Redis → archiver → SQLite or PostgreSQL."""
