"""The same small work under every driver, on a throw-away PostgreSQL or on the user's own.

- scene.py: the demo itself; workloads/: its work, one file for each driver.
- guest.py: a schema on the user's own server.
- embedded.py: a throw-away PostgreSQL; ways.py: the user that runs it; pooler.py: a PgBouncer in
  front of it; ports.py: their ports.
"""
