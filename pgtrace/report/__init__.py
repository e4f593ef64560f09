"""A trace as text tables and as JSON.

- stats.py, grouping.py, times.py: counters; messages.py: round trips and their messages.
- about.py: the driver, layer and process of a connection; joins.py: what a pooler did.
- advice.py, advice_formats.py, budgets.py: findings and budgets, for people and for CI; answer.py:
  the end of a summary.
- diff.py: two captures; comparison/: variants side by side.
- filenames.py: the names of captures in reports that are sent to others.
- table.py, markdown.py, encoding.py, page/: columns, Markdown, JSON, HTML.
"""
