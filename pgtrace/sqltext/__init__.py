"""SQL text, read only as far as its tokens: grouping, splitting, leading words, one short line.

PostgreSQL's scanner decides where strings, comments, identifiers and statements begin and end.
Grouping statements and counting those of one Query need only that. Nothing is parsed, so a text
that the server would refuse has tokens too. `scanner` finds the tokens, `statements` the ends of
statements, `groups` texts that are the same statement with other values, `tags` the pairs in its
comments. `line` shortens a statement to fit into a column, `lists` reduces lists of values,
`blanking` blanks literals, `summary` says what a statement is about, `tables` which tables it
names, `copies` and `replication` what the CopyData of a COPY or a replication command holds.

No function raises, whatever the str (lone surrogates included), and all take time linear in the
text. Results are remembered (`memory`), since a capture repeats few texts many times. They depend
only on this code, never on what is installed.
"""

from pgtrace.sqltext.groups import blank_plain_values, fingerprint, normalise
from pgtrace.sqltext.line import shorten
from pgtrace.sqltext.scanner import Token, scan, without_comments
from pgtrace.sqltext.statements import identifiers, split, words

__all__ = [
    "Token",
    "blank_plain_values",
    "fingerprint",
    "identifiers",
    "normalise",
    "scan",
    "shorten",
    "split",
    "without_comments",
    "words",
]
