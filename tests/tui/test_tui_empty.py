"""What a user is told to type reaches the recorder, whatever it listens on and whatever is known of the login."""

from __future__ import annotations

import shlex

from pgtrace.tui.model.source import Source
from pgtrace.tui.widgets.empty import instructions

LOGIN = (("PGUSER", "app"), ("PGPASSWORD", "p@ss w'rd"), ("PGDATABASE", "shop"))


def told(*addresses: str, environment: tuple[tuple[str, str], ...] = ()) -> list[str]:
    return instructions(Source(listener="x", live=True, addresses=addresses, environment=environment))


def test_nothing_is_made_up() -> None:
    assert told("127.0.0.1:6433") == [
        "export PGHOST=127.0.0.1 PGPORT=6433 PGSSLMODE=disable",
        "export DATABASE_URL=postgresql://127.0.0.1:6433/",
        "psql -h 127.0.0.1 -p 6433",
    ]


def test_a_socket() -> None:
    assert told("unix:/run/app/.s.PGSQL.6433", environment=(("PGUSER", "app"),)) == [
        "export PGHOST=/run/app PGPORT=6433",
        "export PGUSER=app",
        "export DATABASE_URL='postgresql://app@/?host=/run/app&port=6433'",
        "psql -h /run/app -p 6433 -U app",
    ]


def test_all_interfaces_are_reached_by_loopback() -> None:
    assert told("0.0.0.0:6433", "[::]:6433")[0] == "export PGHOST=127.0.0.1 PGPORT=6433 PGSSLMODE=disable"
    assert told("[::]:6433")[1] == "export DATABASE_URL='postgresql://[::1]:6433/'"


def test_ipv6_has_brackets_in_the_url_only() -> None:
    lines = told("[::1]:6433")
    assert lines[0].startswith("export PGHOST=::1 PGPORT=6433")
    assert "postgresql://[::1]:6433/" in lines[1]
    assert lines[2] == "psql -h ::1 -p 6433"


def test_what_a_shell_reads_is_what_was_meant() -> None:
    _, login, url, psql = told("127.0.0.1:6433", environment=LOGIN)
    assert shlex.split(login) == ["export", "PGUSER=app", "PGPASSWORD=p@ss w'rd", "PGDATABASE=shop"]
    assert shlex.split(url) == ["export", "DATABASE_URL=postgresql://app:p%40ss%20w%27rd@127.0.0.1:6433/shop"]
    assert shlex.split(psql) == ["psql", "-h", "127.0.0.1", "-p", "6433", "-U", "app", "shop"]


def test_files_have_nothing_to_connect_to() -> None:
    assert instructions(Source(files=("a.pgtrace",), live=True)) == []
