"""Captures: what the recorder saw, stored as it was seen.

record.py defines the records; blocks.py and versions.py define the file around them. writer.py and
segments.py write, reader.py reads and follows. redact.py keeps the protocol's secrets out,
hiding.py what the user wants left out, redacted.py the same in a copy.
docs/captures.md describes the format for everybody else. This layer knows bytes, times and
connections. What they mean is the business of the packages above.
"""
