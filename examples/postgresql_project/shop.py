"""A shop with one thing to do: check out an order. It uses psycopg, and does not know pgtrace."""

from __future__ import annotations

import psycopg

SCHEMA = """
    create temporary table item (id int primary key, name text not null, price numeric not null);
    insert into item values (1, 'tea', 3.50), (2, 'rice', 2.20), (3, 'salt', 0.90);
    create temporary table sale (item_id int not null, price numeric not null);
"""


def check_out(connection: psycopg.Connection, items: list[int]) -> int:
    """Sell these items. Returns the number of those that exist."""
    with connection.transaction():
        found = connection.execute("select id, price from item where id = any(%s)", (items,)).fetchall()
        ids, prices = zip(*found, strict=True)
        connection.execute("insert into sale select * from unnest(%s::int[], %s::numeric[])", (list(ids), list(prices)))
    return len(found)
