"""The read models: the only thing that dashboard, API, metrics and the command line read."""
