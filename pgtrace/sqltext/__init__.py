"""SQL text, read no deeper than its tokens: grouping, splitting, leading words, one short line.

PostgreSQL decides in its scanner where strings, comments, identifiers and statements begin and end. That much is needed to group statements and to
count those of one Query, and that much is here; nothing is parsed, so a text the server would refuse has tokens too. `scanner` finds the tokens,
`statements` where one statement ends, `groups` what is the same statement with other values, `line` what fits into a column.

No function raises, whatever the str (lone surrogates included), and all take time linear in the text. Results are remembered: a capture repeats few
texts many times. They depend on this code alone, never on what is installed.
"""

from pgtrace.sqltext.groups import fingerprint, normalise
from pgtrace.sqltext.line import shorten
from pgtrace.sqltext.scanner import Token, scan
from pgtrace.sqltext.statements import identifiers, split, words

__all__ = ["Token", "fingerprint", "identifiers", "normalise", "scan", "shorten", "split", "words"]
