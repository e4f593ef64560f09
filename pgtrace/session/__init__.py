"""One connection's state: what each side may send next, what is owed, statements, portals,
transactions, round trips. No I/O.

- connection.py: bytes in, events out; cache.py: reads that are known already, by their bytes.
- machine.py: the rules; owed.py: what the backend still owes; names.py, statements.py: what names
  mean, hashes.py: those forgotten; bodies.py: decoded parts of bodies.
- roundtrips.py: when a round trip opens and closes; run.py: what it counts meanwhile; departure.py:
  an end that comes while it is open.
- events.py: the Observer and its events; effects.py: what sessions share of them; failures.py: an
  error without its language.
- watched.py: the plain machine with an observer of each message.
"""
