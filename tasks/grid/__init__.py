"""The grid: levels, cells and the planner that says which orders should exist. Pure."""
