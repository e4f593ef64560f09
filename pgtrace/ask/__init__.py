"""Questions to a trace: filters, counters of the selected round trips, budgets, and the evidence
behind a number.

- filter/: the filter language.
- budgets.py, budget_tables.py: limits for counters, from the command line and from TOML.
- evidence.py: the round trips behind a counter.
"""
