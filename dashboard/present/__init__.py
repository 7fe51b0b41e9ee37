"""Views as text and HTML for the screens. Pure: nothing here reads, waits or computes profit."""
