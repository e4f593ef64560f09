"""pgtrace: a wire tracer for PostgreSQL. This module imports nothing heavy on purpose."""

__version__ = "0.1.0"
