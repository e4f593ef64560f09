"""A capture as lines of JSON to read and edit: one message per line with its decoded fields.
Importing the lines gives the same records.

cutting.py makes lines from records, joining.py makes records from lines, spelling.py writes values.
docs/jsonl.md describes the format.

The first line has the schema and the capture's clocks. After it come three kinds of lines:

- A message: `connection`, `from` (`F` or `B`), `message`, and `fields`, or `raw` if fields would
  not give the same bytes back.
- Bytes that are not a whole message (encrypted, a message larger than LONGEST_LINE, or bytes
  between a gap and the place where both sides can be read again): `connection`, `from`, `bytes`.
- Any other record of the capture: `kind`, and its fields.

A read of the recorder is not a message: it may hold many, or a piece of one. So `record` counts the
reads (and every other record). Messages with the same number came in one read, and `continues`
lists the places where a message continued in a later read. Lines are in the order of the record in
which they begin, so importing needs to keep only the current message.
"""

from typing import Final

SCHEMA: Final = "pgtrace.jsonl/1"
LONGEST_LINE: Final = 128 * 1024
"""The longest message, in bytes, that is written as one line."""
SIDES: Final = "FB"
