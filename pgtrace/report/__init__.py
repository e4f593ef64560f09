"""A trace written down as text tables and as JSON."""
