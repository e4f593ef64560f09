"""A throw-away PostgreSQL and the same small work under every driver."""
