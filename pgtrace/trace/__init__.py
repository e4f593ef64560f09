"""A trace: one or several captures, read, counted and listed; what every view asks.

- trace.py: the captures and the sums; connection.py: one connection of them; connections.py: all of them, by index.
- rows.py: the index of the timeline; labels.py: what a row says; rowsums.py: what rows count.
- counters.py, statements.py, marks.py: the counters, and the statements and marks they are grouped by.
- name_log.py, copy_log.py: what a name meant and what CopyData held, at every row.
- ends.py, refused_tls.py, security.py, disk_waits.py: how a connection ended, was protected, and waited.
- transactions.py, activity.py, sightings.py: what a view adds up from complete rows.
- blocks.py: the capture by position, for whoever reads a row again.

It knows no terminal, and no file but the captures it reads.
"""
