"""The state of one connection: what each side may send next, what the backend owes, statements,
portals, transactions, round trips. No I/O.

- connection.py: bytes in, events out; cache.py: recognises known reads by their bytes.
- machine.py: the rules; owed.py: what the backend still owes; names.py, statements.py: the
  statements and portals behind names; hashes.py: names that were forgotten; bodies.py: decoded
  parts of bodies.
- roundtrips.py: when a round trip opens and closes; run.py: what a round trip counts while it is
  open; departure.py: an end that comes while a round trip is open.
- events.py: the Observer and its events; effects.py: what round trips of different sessions share;
  failures.py: the parts of an error that do not depend on the server's language.
- watched.py: the machine without the cache, with an observer of each message.
"""
