"""Orders, exactly once: journal first, then send; what is unclear is looked up, never assumed."""
