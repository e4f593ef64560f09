"""`pgtrace run` leads programs to the proxy however their environment leads them to PostgreSQL, TLS and passwords included."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "count_round_trips.py")
WHO = (
    "import psycopg; print(psycopg.connect('').execute('select current_user, ssl from pg_stat_ssl where pid = "
    "pg_backend_pid()').fetchone())"
)


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "DATABASE_URL"}
    command = [sys.executable, "-m", "pgtrace", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment, check=False, timeout=60)


@pytest.fixture
def role(tls_server, certificates, tmp_path):
    """The environment of a program that may only come over TLS, in the ways of libpq; each leaves out what another one says."""
    service = tmp_path / "services"
    service.write_text(
        f"[shop]\nhost=db.invalid\nhostaddr={tls_server.host}\nport={tls_server.port}\nuser=tls_role\ndbname=postgres\nsslmode=require\n"
    )
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:other:*:wrong\nlocalhost:{tls_server.port}:postgres:tls_role:secret\n")
    passwords.chmod(0o600)
    secret = {"PGPASSWORD": "secret"}
    names = {"PGUSER": "tls_role", "PGDATABASE": "postgres"}
    place = {"PGHOST": tls_server.host, "PGPORT": str(tls_server.port)}
    url = f"postgresql://tls_role:secret@{tls_server.host}:{tls_server.port}/postgres?sslmode=require"
    verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(certificates.authority), "PGHOST": "localhost"}
    return {
        "variables": place | names | secret | {"PGSSLMODE": "require"},
        "service": secret | {"PGSERVICEFILE": str(service), "PGSERVICE": "shop"},
        "address": place | names | secret | {"PGHOST": "db.invalid", "PGHOSTADDR": tls_server.host, "PGSSLMODE": "require"},
        "password file": place | names | verified | {"PGPASSFILE": str(passwords)},
        "channel binding": place | names | secret | verified | {"PGCHANNELBINDING": "require"},
        "URL": {"DATABASE_URL": url},
    }


@pytest.mark.sampled(2)
@pytest.mark.parametrize("way", ["variables", "service", "address", "password file", "channel binding"])
def test_a_program_of_libpq_comes_through_the_proxy_and_over_tls(role, way):
    found = run("--json", "--", sys.executable, "-c", WHO, environment=role[way])
    assert found.returncode == 0, found.stderr
    printed, _, summary = found.stdout.partition("\n")
    assert printed == "('tls_role', True)"
    stats = json.loads(summary)
    (connection,) = stats["connections"]
    assert connection["user"] == "tls_role"
    assert connection["tls"]["frontend"] is None
    assert connection["tls"]["backend"] == "TLSv1.3"
    assert stats["totals"]["executions"] == 2  # psycopg's BEGIN, and the query


@pytest.mark.parametrize("way", ["variables", "service", "password file", "channel binding"])
def test_a_program_that_speaks_tls_itself(role, way):
    """With --tls auto its own leg is encrypted too: what it verifies is the certificate of this run."""
    verifying = {"PGSSLMODE": "verify-full"} if way == "password file" else {}
    found = run("--tls", "auto", "--json", "--", sys.executable, "-c", WHO, environment=role[way] | verifying)
    assert found.returncode == 0, found.stderr
    printed, _, summary = found.stdout.partition("\n")
    assert printed == "('tls_role', True)"
    (connection,) = json.loads(summary)["connections"]
    assert connection["tls"] == {"frontend": "TLSv1.3", "backend": "TLSv1.3"}
    assert connection["authentication"] == {"request": "AuthenticationSASL", "mechanism": "SCRAM-SHA-256", "channel_binding": "n"}
    assert connection["tls_details"]["frontend"]["alpn"] == "postgresql"


@pytest.mark.parametrize("tls", [(), ("--tls", "auto")])
def test_channel_binding_that_nothing_replaces_is_refused_by_name(role, tls):
    found = run(*tls, "--", "true", environment=role["variables"] | {"PGCHANNELBINDING": "require"})
    assert found.returncode == 2
    assert re.fullmatch(r"pgtrace: channel_binding=require cannot work .*sslmode=verify-full.*--tls pass.*\n", found.stderr)
    url = role["URL"]["DATABASE_URL"] + "&channel_binding=require"
    assert run("--", "true", environment={"DATABASE_URL": url}).stderr == found.stderr
    replaced = run(*tls, "--", "true", environment=role["channel binding"])
    assert (
        "channel_binding=require cannot work through pgtrace and was removed; sslmode=verify-full verifies the server instead"
        in replaced.stderr
    )


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_example_comes_through_its_url(role, driver):
    found = run("--", sys.executable, EXAMPLE, "--driver", driver, environment=role["URL"])
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{driver} read 5 items: tea, rice, salt, soap, rope\n"
    assert re.search(rf"^{driver} +1 +\d", found.stderr, re.MULTILINE)


def test_another_variable_may_hold_the_url(role):
    program = "import os, psycopg; print(psycopg.connect(os.environ['SHOP_DB']).execute('select 1').fetchone())"
    environment = {"SHOP_DB": role["URL"]["DATABASE_URL"], **role["variables"]}
    found = run("--env-url", "SHOP_DB", "--json", "--", sys.executable, "-c", program, environment=environment)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout.partition("\n")[2])["connections"]) == 1


def test_without_a_connection_it_says_how_to_point_the_program(role):
    found = run("--", sys.executable, "-c", "raise SystemExit(5)", environment=role["variables"])
    assert found.returncode == 5
    ended, hint = found.stderr.index("the program ended with exit code 5"), found.stderr.index("no connection came through pgtrace")
    assert ended < hint, "what went wrong first comes first"
    assert "--env-url NAME" in found.stderr
    assert "exit code" not in run("--", sys.executable, "-c", "pass", environment=role["variables"]).stderr


def test_a_signal_is_told_as_a_shell_tells_it(role):
    found = run("-q", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", environment=role["variables"])
    assert found.returncode == 128 + 9


def test_an_upstream_that_is_down_ends_it_before_the_program_starts(tmp_path):
    trace = tmp_path / "started"
    found = run("--upstream", "127.0.0.1:1", "--", "touch", str(trace), environment={})
    assert found.returncode == 3
    assert not trace.exists()
    assert re.fullmatch(r"pgtrace: .*127\.0\.0\.1:1.*\n", found.stderr)
    assert "embedded" not in found.stderr
    found = run("--", "touch", str(trace), environment={"PGHOST": "127.0.0.1", "PGPORT": "1"})
    assert found.returncode == 3
    assert not trace.exists()
    assert re.fullmatch(r"pgtrace: .*127\.0\.0\.1:1.*--upstream says where .*`--upstream embedded` starts .*\n", found.stderr)


MANY = "import psycopg; c = psycopg.connect('', autocommit=True); [c.execute('select %s', (n,)) for n in range(4)]; raise SystemExit({})"


@pytest.mark.parametrize(("limit", "code", "expected"), [(4, 0, 0), (3, 0, 1), (3, 7, 7), (4, 7, 7)])
def test_a_budget_decides_where_the_program_does_not(role, limit, code, expected):
    budgets = ("--max", f"round_trips={limit}", "--max", "errors=0")
    found = run("-q", *budgets, "--", sys.executable, "-c", MANY.format(code), environment=role["variables"])
    assert found.returncode == expected, found.stderr
    if limit == 4:
        assert not found.stderr
    else:
        assert found.stderr.splitlines() == [
            "",
            "capture: round_trips is 4, at most 3",
            "    ×4  PBDES → 12TDCZ  select $1",
            "",
            "1 of 2 budgets not met",
        ]


def test_a_budget_of_a_program_that_never_came_is_not_kept(role, tmp_path):
    config = tmp_path / "budgets.toml"
    config.write_text("round_trips = 4\n")
    found = run("--config", str(config), "--", sys.executable, "-c", "pass", environment=role["variables"])
    assert found.returncode == 1
    assert "capture: nothing to check for round_trips: it has no connection" in found.stderr


def test_a_wrong_budget_ends_it_before_the_program_starts(role, tmp_path):
    started = tmp_path / "started"
    found = run("--max", "round_trip=4", "--", "touch", str(started), environment=role["variables"])
    assert found.returncode == 2
    assert not started.exists()
    assert re.fullmatch(r"pgtrace: --max: unknown counter 'round_trip'; did you mean round_trips, .*\n", found.stderr)


SLEEPS = (
    "import psycopg, select; server = psycopg.connect('').pgconn; server.send_query(b'select pg_sleep(60)'); server.flush(); "
    "print('in', flush=True); select.select([server.socket], [], [], 60)"
)


def test_sigterm_is_passed_on_and_what_passed_is_counted(role):
    """The program is ended in the middle of a query, and the summary is about all that it did."""
    command = [sys.executable, "-m", "pgtrace", "run", "--json", "--", sys.executable, "-c", SLEEPS]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "DATABASE_URL"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean | role["variables"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert json.loads(out)["totals"]["queries"] == 1
    assert "still open" not in errors


def test_connections_that_outlive_the_program_are_told(role):
    """A child that stays, and waits for pgtrace to close them."""
    child = (
        "import psycopg, select; a, b = psycopg.connect(''), psycopg.connect(''); print('in', flush=True); "
        "select.select([b.pgconn.socket], [], [], 60)"
    )
    program = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
child.stdout.readline()
"""
    found = run("--", sys.executable, "-c", program, environment=role["variables"])
    assert found.returncode == 0, found.stderr
    assert "pgtrace: 2 connections are still open, from a process that outlives the program" in found.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rtt", "20"), "pgtrace: 20 is taken as 20 ms; write 20ms, or 20s for seconds\n"),
        (("--rtt", "20ms"), ""),
        (("--rtt", "20", "-q"), ""),
    ],
)
def test_a_bare_duration_is_said_to_be_ms(role, options, said):
    found = run(*options, "--", sys.executable, "-c", WHO, environment=role["variables"])
    assert found.returncode == 0
    assert [line for line in found.stderr.splitlines(keepends=True) if " is taken as " in line] == ([said] if said else [])


@pytest.mark.parametrize(("options", "host"), [((), "/"), (("--listen", "127.0.0.1:0"), "127.0.0.1"), (("--allow-others",), "127.0.0.1")])
def test_where_the_program_is_led_before_a_socket(tls_server, options, host):
    upstream = f"{tls_server.socket_directory}:{tls_server.port}"
    program = "import os, psycopg; print(os.environ['PGHOST']); psycopg.connect('')"
    login = {"PGUSER": tls_server.user, "PGPASSWORD": tls_server.password, "PGDATABASE": "postgres"}
    found = run("--upstream", upstream, *options, "--", sys.executable, "-c", program, environment=login)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(host)
    assert ("only connections of your own user are served" in found.stderr) == ("--listen" in options)
