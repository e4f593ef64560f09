"""The legs of a trace, and what a pooler between two of them does.

A leg is one listener and its upstream. `sums` has the counters of each leg. If both sides of a
pooler were recorded, `trips` gives each round trip a key that a pooler does not change, `joining`
joins the round trips of the drivers' side with those of the server's side, and `joins` has the
results by row: which server connection ran it, how long it was in the pooler, and what the pooler
added.
"""
