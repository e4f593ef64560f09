"""Questions to a trace: filters, the counters of what they select, budgets, and the evidence behind
a number.

- filter/: the filter language.
- budgets.py, budget_tables.py: limits for counters, from the command line and from TOML.
- evidence.py: the round trips behind a counter.
"""
