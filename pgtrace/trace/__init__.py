"""A trace: one or several captures, read, counted and listed. Every view gets its data here.

- trace.py: the public interface; files.py: the captures; intake.py: what each of their records
  does.
- connections.py: all connections, by index; totals.py: the sums over them.
- connection.py: the life of one connection; identity.py: its driver, server and start-up;
  observer.py: what its session reports.
- timeline.py: writes the rows; row.py: one row; rows.py: the index of all rows; interned.py: what
  many rows share; labels.py: the texts of a row; rowsums.py: counters of rows.
- ledger.py: what all connections write to, and the budget of their logs.
- counters.py, marks.py: the counters, and their groups by mark; groups.py: one statement in all its
  texts; statements.py, gathered.py: tables of statements, and several tables together.
- name_log.py, copy_log.py, introspections.py: the meaning of names and CopyData at every row, and
  the rows that may contain information about types.
- ends.py, refused_tls.py, reconnects.py, security.py, disk_waits.py: how a connection ended, was
  protected, and waited.
- transactions.py, activity.py, sightings.py, stretches.py: sums over complete rows, for views.
- feed.py: passes every row once to everything that reads all rows; times.py, histogram.py: how long
  things took; waits.py, full_buffers.py: what an open connection waits for.
- unread.py: how much a trace has not read yet.
- call_sites.py, noted_marks.py: what the program noted, by row.
- turns.py: finds loops: the same steps again and again in the same order.
- blocks.py: the capture by position, to read a row again.

This package uses neither a terminal nor any file except the captures.
"""
