"""The tick: one pass for one symbol through all stages, and the process-wide service that runs windows of ticks."""
