"""A trace as text tables and as JSON."""
