"""One exchange, one file: what is particular to it. `venue.py` says what a venue gives, `registry.py` lists them."""
