"""psql, the one that is installed: one process for each capture."""

from __future__ import annotations

import os
import subprocess
import time

from captures.recording.scenarios import BATCH, CHANNEL, COPY_TEXT, TOO_LONG, Play, Target


def _environment(target: Target) -> dict[str, str]:
    place = {
        "PGHOST": target.host,
        "PGPORT": str(target.port),
        "PGUSER": target.user,
        "PGPASSWORD": target.password,
        "PGDATABASE": target.database,
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | place


def play(*commands: str, stdin: str = "") -> Play:
    """psql with these commands, one -c each; with `stdin` as what it reads."""

    def main(target: Target) -> None:
        options = [part for command in commands for part in ("-c", command)]
        subprocess.run(["psql", "-X", "-q", *options], input=stdin, env=_environment(target), check=False, capture_output=True, text=True)

    return main


def cancel(target: Target) -> None:
    """Ctrl-C, once its query was seen to run."""
    environment = _environment(target)
    process = subprocess.Popen(["psql", "-X", "-q", "-c", TOO_LONG], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.7)
    process.send_signal(2)
    process.communicate(timeout=20)


_INSERTS = [f"insert into item values ({number}, '{name}', {price or 'null'})" for number, name, price in BATCH]
PLAYS = {
    "connect": play("\\q"),
    "one_query": play("select id, name, price from item where id = 7"),
    "ten_queries": play(*(f"select id, name, price from item where id = {number}" for number in range(1, 11))),
    "executemany": play(stdin=";\n".join(_INSERTS) + ";\n"),
    "types": play(
        "select -2::int2, 4::int4, (2::int8 ^ 40)::int8, true, 1.5::float8, 12.340::numeric, 'naïve ✓'::text, '\\x00ff'::bytea,"
        " '2026-02-03 04:05:06.000789+00'::timestamptz, '2026-02-03'::date, '00000000-0000-0000-0000-000000000007'::uuid, "
        "'{1,null,3}'::int4[]"
    ),
    "copy_in": play("copy item (id, name) from stdin", stdin=COPY_TEXT),
    "copy_out": play("copy item (id, name, price) to stdout"),
    "notify": play(f"listen {CHANNEL}", f"notify {CHANNEL}, 'hello'"),
    "failure": play(
        "begin", "update item set price = price + 1 where id = 1", "insert into item (id, name) values (1, 'twice')", "rollback"
    ),
    "cancel": cancel,
}
