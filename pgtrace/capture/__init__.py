"""Captures: what the recorder saw, stored as it was seen.

record.py has the records, blocks.py and versions.py the file around them, writer.py and segments.py write, reader.py reads and follows, redact.py keeps the
protocol's secrets out. docs/captures.md describes the format for everybody else. This layer knows bytes, times and connections; what they mean is
for session/ and analysis/.
"""
