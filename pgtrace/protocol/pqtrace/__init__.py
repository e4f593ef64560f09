"""The text of libpq's trace (PQtrace), message by message: writing.py from a message, reading.py back to one, layouts.py the one definition of both."""
