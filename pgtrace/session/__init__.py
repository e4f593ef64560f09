"""One connection's state: what each side may send next, what is owed, statements, portals,
transactions, round trips. No I/O."""
