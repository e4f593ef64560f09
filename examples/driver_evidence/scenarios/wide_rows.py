"""The same 1,000 rows of one type, as text and as binary."""

import psycopg
from common import DSN, VARIANT

COLUMNS = {
    "jsonb": """jsonb_build_object('id', n, 'name', 'item ' || n, 'tags', array['a', 'b'])""",
    "array": "array[n, n * 10, n * 100, n * 1000]",
    "composite": "row(n, 'item ' || n, n * 1.25)",
    "numeric": "n * 1.25::numeric",
    "timestamptz": "timestamptz '2026-01-01 12:34:56.789+00' + n * interval '1 second'",
}
kind, _, form = VARIANT.partition("-")
with psycopg.connect(DSN, autocommit=True) as connection:
    cursor = connection.cursor(binary=form == "binary")
    cursor.execute(f"select {COLUMNS[kind]} from generate_series(1, 1000) n")
