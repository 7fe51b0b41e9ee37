"""When work happens: one file, one Prefect flow. No business rule lives here."""
