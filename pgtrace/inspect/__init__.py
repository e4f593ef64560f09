"""The messages of a row, read from the capture again on request.

- details.py: the messages of a row; message.py: one message and its fields.
- walk.py: reads the messages again, with their context; copy_reading.py: the same for CopyData.
- types.py: the types of a database, from the queries of drivers that asked for them.
- related.py: how a row or a message relates to others.
- executed.py, literals.py: what a round trip ran, and the same as text to run.
"""
