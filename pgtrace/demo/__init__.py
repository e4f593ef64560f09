"""A throw-away PostgreSQL and the same small work under every driver.

- scene.py: the demo itself; workloads/: its work, one file for each driver.
- embedded.py: a throw-away PostgreSQL; ways.py: the user that runs it; pooler.py: a PgBouncer in
  front of it; ports.py: their ports.
"""
