"""The panes, one module each, and the line that names them (tabs.py, where a new one is listed)."""
