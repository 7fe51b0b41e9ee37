"""The HTTP API: one router a file. Everything is read from `tasks.views` and done by `tasks.control`."""
