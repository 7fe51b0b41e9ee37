"""The one-machine stack: its processes, its record on disk, take-over after a kill, shutdown."""
