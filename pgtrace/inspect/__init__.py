"""The messages behind a row, read from the capture again when somebody looks.

- details.py: the messages of a row, and what each reply answers.
- copy_reading.py: the CopyData of a row, read in order.
- related.py: what a row or a message has to do with another one.
- executed.py, literals.py: what a round trip ran, and the same as text that can be run.
- types.py: the types of a database, from the queries of drivers that asked for them.
"""
