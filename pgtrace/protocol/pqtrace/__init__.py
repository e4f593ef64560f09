"""The text of libpq's trace (PQtrace), message by message: writing.py and reading.py, with the
layouts of both in layouts.py."""
