"""The panes, one module each, and the line of their names (tabs.py, which lists them)."""
