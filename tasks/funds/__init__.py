"""The pot: the money that all symbols and workers share. Atomic scripts grant it, book it and free it."""
