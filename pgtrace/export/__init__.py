"""A trace in the formats of others, one module each."""
