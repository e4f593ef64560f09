"""A mock server that answers a real driver from a capture."""
