"""The messages behind a row, read from the capture again when somebody looks.

- details.py: the messages of a row; message.py: one of them, and its fields.
- walk.py: how they are read again, and put beside what they are about; copy_reading.py: the same for CopyData.
- types.py: the types of a database, from the queries of drivers that asked for them.
- related.py: what a row or a message has to do with another one.
- executed.py, literals.py: what a round trip ran, and the same as text that can be run.
"""
