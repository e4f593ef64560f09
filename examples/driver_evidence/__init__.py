"""Claims about drivers, each decided by what passed on the wire."""
