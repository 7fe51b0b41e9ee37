"""The one-machine stack: its processes, what it writes down, how it is taken over and how it ends."""
