"""A trace: one or several captures, read, counted and listed; what every view asks.

- trace.py: the front, what a view asks; files.py: the captures; intake.py: what each of their records does.
- connections.py: all connections, by index; totals.py: the sums over them.
- connection.py: the life of one; identity.py: who it is; observer.py: what it hears from its session.
- timeline.py: what becomes a row; rows.py: the index of the timeline; labels.py: what a row says; rowsums.py: what rows count.
- ledger.py: what all connections write into, and the budget of their logs.
- counters.py, statements.py, marks.py: the counters, and the statements and marks they are grouped by.
- name_log.py, copy_log.py, introspections.py: what a name meant and CopyData held at every row, and which rows tell about types.
- ends.py, refused_tls.py, reconnects.py, security.py, disk_waits.py: how a connection ended, was protected, and waited.
- transactions.py, activity.py, sightings.py: what a view adds up from complete rows.
- blocks.py: the capture by position, for whoever reads a row again.

It knows no terminal, and no file but the captures it reads.
"""
