"""Captures side by side.

- behaviour.py: what the drivers did, step by step; totals.py: the sums of one side.
- align.py: two sequences side by side; changes.py: what changed, in sentences; diff.py: both
  together; columns.py: its steps in two columns.
- turns.py: what one capture of a variant counted and took; variants.py: what several say;
  side_by_side.py: variants with their changes.
"""
