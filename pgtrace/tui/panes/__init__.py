"""Panes of the terminal interface, one module each."""
