"""The messages behind a row, read from the capture again when you look.

- details.py: the messages of a row; message.py: one of them, and its fields.
- walk.py: how they are read again, with their context; copy_reading.py: the same for CopyData.
- types.py: the types of a database, from the queries of drivers that asked for them.
- related.py: how a row or a message relates to others.
- executed.py, literals.py: what a round trip ran, and the same as text to run.
"""
