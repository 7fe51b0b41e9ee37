"""The Prefect flows, one per file. Flows decide when work happens; the rules are in `tasks`."""
