"""Captures side by side.

- behaviour.py: the drivers' behaviour, step by step; totals.py: the sums of one side.
- align.py: two sequences side by side; changes.py: what changed, in sentences; diff.py: both
  together; columns.py: its steps in two columns.
- turns.py: the counts and times of one capture; variants.py: those of several;
  side_by_side.py: variants with their changes.
"""
