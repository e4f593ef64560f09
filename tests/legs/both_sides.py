"""A session with a pooler in between, in the playbook's language: c1 is in front, c2 behind."""

from __future__ import annotations

BOTH = """
0 F StartupMessage user=app
0 c1 fact leg A
0 B AuthenticationOk | BackendKeyData 2000000000 1 | ReadyForQuery I
1 c2 F StartupMessage user=app
1 c2 fact leg B
1 c2 B AuthenticationOk | BackendKeyData 11 1 | ReadyForQuery I
10 F Parse s SELECT $1 | Bind - s params={one} | Execute - | Sync
11 c2 F Query SET client_encoding='utf8'
12 c2 B CommandComplete SET | ReadyForQuery I
13 c2 F Parse PGBOUNCER_1 SELECT $1 | Bind - PGBOUNCER_1 params={one} | Execute - | Sync
17 c2 B ParseComplete | BindComplete | DataRow {one} | CommandComplete SELECT 1 | ReadyForQuery I
18 B ParseComplete | BindComplete | DataRow {one} | CommandComplete SELECT 1 | ReadyForQuery I
20 F Parse t SELECT 2 | Sync
21 B ParseComplete | ReadyForQuery I
30 F Query ROLLBACK
31 c2 F Query ROLLBACK
32 c2 B CommandComplete ROLLBACK | ReadyForQuery I
33 B CommandComplete ROLLBACK | ReadyForQuery I
"""
