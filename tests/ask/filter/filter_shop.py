"""A capture to filter, as a script (playbook.py)."""

from __future__ import annotations

SHOP = """
0   c1 F StartupMessage user=app database=shop application_name=web
1   c1 B AuthenticationOk | BackendKeyData 1 7777 | ReadyForQuery I
10  c1 F Parse __asyncpg_stmt_1__ SELECT id, name FROM users WHERE id = $1 | Describe S __asyncpg_stmt_1__ | Flush
11  c1 B ParseComplete | ParameterDescription 23 | RowDescription id:23:b name:25:b
12  c1 F Bind - __asyncpg_stmt_1__ params=1 in=1 out=1 | Execute - | Sync
13  c1 B BindComplete | DataRow 1 Ann | CommandComplete SELECT 1 | ReadyForQuery I
20  c2 F StartupMessage user=batch database=warehouse application_name=worker-7
21  c2 B AuthenticationOk | BackendKeyData 2 7777 | ReadyForQuery I
22  c2 F Query BEGIN
23  c2 B CommandComplete BEGIN | ReadyForQuery T
24  mark begin test_checkout
25  c2 F Parse - INSERT INTO audit VALUES ($1) | Bind - - params=1 | Execute - | Bind - - params=2 | Execute - | Sync
45  c2 B ParseComplete | BindComplete | CommandComplete INSERT 0 1 | BindComplete | \
ErrorResponse 23505 duplicate key value | ReadyForQuery E
46  c2 F Query ROLLBACK
47  c2 B CommandComplete ROLLBACK | ReadyForQuery I
48  mark end test_checkout
50  c1 B NotificationResponse orders 4711
51  c1 F Query SELECT * FROM orders FOR UPDATE; SELECT 'it''s'
52  c1 B DataRow 1 ×1200 | CommandComplete SELECT 1200 | DataRow x | CommandComplete SELECT 1 | ReadyForQuery I
60  c1 F Terminate
61  c1 close F
62  c2 F Query SELECT pg_sleep(60)
100 end
"""
"""Two connections. Rows: 1 set-up, 2 PDH, 3 BES, 4 set-up, 5 BEGIN, 6 mark, 7 the failed pipeline,
8 ROLLBACK, 9 mark, 10 notification, 11 a Query of two statements, 12 Terminate, 13 still open."""
