"""A COPY of 40 MB, read row by row: what the program holds meanwhile."""

import resource

import psycopg
from common import DSN, tell

with psycopg.connect(DSN, autocommit=True) as connection:
    cursor = connection.cursor()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = 0
    with cursor.copy("copy (select n, repeat('x', 400) from generate_series(1, 100000) n) to stdout") as copy:
        for _ in copy.rows():
            rows += 1
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tell(rows=rows, grown_mib=round((after - before) / 1024, 1))
