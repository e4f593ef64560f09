"""Captures as regression tests. This module imports nothing heavy: it is loaded in every test run
of its environment."""
