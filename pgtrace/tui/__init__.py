"""The terminal interface over a trace."""
