"""A capture as lines of JSON that people read and edit: one message a line with its decoded fields. Building it back gives the same records.

cutting.py makes lines of records, joining.py records of lines, spelling.py says how values are written. docs/jsonl.md is the format for its readers.

Three kinds of lines, behind a first one that names the schema and the capture's clocks:

- a message: `connection`, `from` (`F` or `B`), `message`, `fields`, or `raw` where it has no fields that give the same bytes back;
- bytes that are no whole message (encrypted, a message larger than LONGEST_LINE, what stands between a gap and the place where both sides can be read
  again): `connection`, `from`, `bytes`;
- any other record of the capture: `kind`, and its fields.

A read of the recorder is not a message: it may hold many, or a piece of one. So `record` counts the reads (and every other record): messages with the same
number came in one read, and `continues` lists the places at which a message went on in a later one. Lines stand in the order of the record they begin in; so
whoever builds it back needs to keep no more than the message at hand.
"""

from typing import Final

SCHEMA: Final = "pgtrace.jsonl/1"
LONGEST_LINE: Final = 128 * 1024
"""Bytes of a message that is still written as one line."""
SIDES: Final = "FB"
