"""Test suites that others wrote, run against PostgreSQL and through pgtrace: `make suites`. See __main__.py."""
