"""The same endpoint with each driver, under load."""
