"""Settings: fields and their bounds, rules between them, loading, and what of them is in force."""
