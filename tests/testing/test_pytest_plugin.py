"""The plugin in pytest runs of its own, before a real server: what is counted, what fails, and what a failure says."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pgtrace import Capture
from pgtrace.errors import CaptureError
from pgtrace.testing import golden as goldens
from pgtrace.testing import pytest_plugin
from tests.live.disks import bad_disk

pytestmark = pytest.mark.live


pytest_plugins = ["pytester"]

INI = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
asyncio_mode = auto
"""
COMMON = """
import psycopg, pytest

def lookup(connection, number):
    return connection.execute("select name from item where id = %s", (number,)).fetchone()

@pytest.fixture
def connection(pgtrace):
    with psycopg.connect(pgtrace.dsn, autocommit=True) as connection:
        connection.execute("create temporary table item (id int primary key, name text)")
        yield connection
"""


class Project:
    """A directory with tests, and a way to run them."""

    def __init__(self, pytester, server, monkeypatch, tmp_path) -> None:
        self.pytester = pytester
        self.url = server.url()
        self.temporary = tmp_path / "temporary"
        self.temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(self.temporary))
        monkeypatch.setattr(tempfile, "tempdir", None)
        for name in ("CI", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):  # the last: where this test is run by a worker
            monkeypatch.delenv(name, raising=False)
        pytester.makeini(INI)

    def write(self, tests: str, name: str = "test_shop") -> None:
        self.pytester.makepyfile(**{name: COMMON + tests})

    def run(self, *options: str, upstream: bool = True, process: bool = False) -> pytest.RunResult:
        """A run in this process, which has imported everything already, or with `process` in one of its own."""
        where = ("--pgtrace-upstream", self.url) if upstream else ()
        run = self.pytester.runpytest_subprocess if process or "-n" in options else self.pytester.runpytest_inprocess
        return run(*(f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "django", "timeout")), *where, *options)

    @property
    def kept(self) -> list[Path]:
        """Directories of captures that are left."""
        return sorted(self.temporary.glob("pgtrace-pytest-*"))


@pytest.fixture
def project(pytester, server, monkeypatch, tmp_path):
    return Project(pytester, server, monkeypatch, tmp_path)


def text(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


# Numbers.


def test_a_window_has_every_counter_and_its_statements(project):
    project.write("""
def test_numbers(pgtrace, connection):
    with pgtrace.record("lookups") as trace:
        for number in range(7):
            lookup(connection, number)
    assert trace.round_trips == 8                  # the sixth execution is prepared by a Parse of its own
    assert (trace.executions, trace.parses_named, trace.statements_reused) == (7, 1, 1)
    assert trace.frontend_messages["Parse"] == 6
    assert trace.setup_round_trips == trace.errors == 0
    assert trace.statement("SELECT name FROM item WHERE id = $1").parses == 6
    assert trace.statement("select ... id = ...").executions == 7
    assert trace.drivers == ["psycopg"]
    assert [row.shape.flight for row in trace.timeline][-1] == "BDES → 2TCZ"
    lookup(connection, 8)
    assert (trace.round_trips, pgtrace.round_trips) == (8, 9)
    first = str(trace).splitlines()[0]
    assert first.split() == "1-5 PBDES → 12TCZ select name from item where id = $1 at test_shop.py:4 in lookup ×5".split()
    with pytest.raises(AttributeError, match="did you mean round_trips"):
        trace.roundtrips
    with pytest.raises(LookupError, match="no statement matches 'delete ...'; there are"):
        trace.statement("delete ...")

def test_each_test_counts_for_itself(pgtrace, connection):
    assert pgtrace.round_trips == 0
    connection.execute("select 1")
    assert pgtrace.round_trips == 1
    assert pgtrace.statement("select 1").executions == 1

def test_addresses(pgtrace, pgtrace_url):
    assert pgtrace.dsn == pgtrace_url
    assert f"@{pgtrace.host}:{pgtrace.port}/" in pgtrace.dsn
    assert pgtrace.url(scheme="postgresql+psycopg", user="a b", password="p", database="shop").startswith(
        f"postgresql+psycopg://a%20b:p@{pgtrace.host}:{pgtrace.port}/shop")

async def test_asynchronous(pgtrace):
    import asyncpg
    connection = await asyncpg.connect(pgtrace.dsn)
    with pgtrace.record("asynchronous") as trace:
        assert [await connection.fetchval("select $1::int", number) for number in (1, 2)] == [1, 2]
    await connection.close()
    assert (trace.round_trips, trace.statement("select ...").reused) == (3, 1)

def test_a_subprocess(pgtrace):
    import subprocess, sys
    code = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute('select 1')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, pgtrace.dsn], check=True)
    assert pgtrace.round_trips == 1
    assert pgtrace.setup_round_trips > 0
""")
    project.run().assert_outcomes(passed=5)
    assert project.kept == []


def test_unittest(project):
    project.write("""
import unittest

class ShopTest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _pgtrace(self, pgtrace, connection):
        self.pgtrace, self.connection = pgtrace, connection

    def setUp(self):
        self.connection.execute("select 'setUp'")

    @pytest.mark.pgtrace(round_trips=2, exact=True)
    def test_kept(self):
        lookup(self.connection, 1)

    @pytest.mark.pgtrace(round_trips=1)
    def test_broken(self):
        lookup(self.connection, 1)

    def test_block(self):
        with self.pgtrace.expect(round_trips=0):
            lookup(self.connection, 1)
""")
    result = project.run()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*round_trips is 1, at most 0", "*round_trips is 2, at most 1", "> 2  PBDES*select name from item where id = $1*"]
    )


# Budgets.


def test_the_query_too_many_is_named(project):
    project.write("""
def check_out(connection):
    connection.execute("begin")
    lookup(connection, 1)
    connection.execute("update item set name = 'one more'")
    connection.execute("commit")

@pytest.mark.pgtrace(round_trips=3, errors=0)
def test_check_out(connection):
    check_out(connection)
""")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "pgtrace: test_shop.py::test_check_out is not within its budget",
            "    round_trips is 4, at most 3",
            "4 round trips (psycopg)",
            "  1  Q → CZ*begin",
            "  2  PBDES → 12TCZ*select name from item where id = $1",
            "  3  Q → CZ*update item set name = 'one more'",
            "> 4  Q → CZ*commit",
            "pgtrace open */capture   (mark test_shop.py::test_check_out)",
        ]
    )
    assert "Traceback" not in text(result)
    assert "errors is" not in text(result)


def test_repeats_and_errors_are_told(project):
    project.write("""
@pytest.mark.pgtrace(errors=0, rows=0)
def test_many(connection):
    for number in range(12):
        lookup(connection, number)
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select 1 from nowhere")
""")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "    errors is 1, at most 0",
            "*1-5  PBDES*×5",
            "*7-13  BDES*×7",
            ">   14  Q → EZ*select 1 from nowhere*✗ 42P01 relation*",
            "x12 select name from item where id = $1: one query for each row (N+1)?",
            "parsed 6 times, reused 6 times: select name from item where id = $1",
            "failed 1 time: select $1 from nowhere",
        ]
    )
    assert "rows is" not in text(result)


def test_budgets_of_what_a_filter_selects(project):
    project.write("""
@pytest.mark.pgtrace(filter="sql ~ '^select'", round_trips=2)
@pytest.mark.pgtrace(round_trips=3)
def test_kept(connection):
    lookup(connection, 1)
    lookup(connection, 2)
    connection.execute("listen work")

@pytest.mark.pgtrace(filter="sql ~ '^listen'", round_trips=0)
def test_broken(pgtrace, connection):
    with pgtrace.expect(filter="rows > 5", rows=0):
        lookup(connection, 1)
    connection.execute("listen work")
    assert pgtrace.where("sql ~ '^select'").round_trips == 1

@pytest.mark.pgtrace(filter="colour:red", round_trips=0)
def test_no_filter(connection):
    pass
""")
    result = project.run()
    result.assert_outcomes(passed=1, failed=1, errors=1)
    text = result.stdout.str()
    assert "round_trips of sql ~ '^listen' is 1, at most 0" in text
    assert re.search(r"^> +2 +Q → CZ +listen work", text, re.MULTILINE)
    assert re.search(r"^ +1 .* select name from item", text, re.MULTILINE)
    assert "unknown filter word 'colour'" in text


def test_budgets_of_a_block_a_class_and_exactly(project):
    project.write("""
@pytest.mark.pgtrace(round_trips=1, queries=0)
class TestShop:
    def test_of_the_class(self, connection):
        lookup(connection, 1)

    @pytest.mark.pgtrace(round_trips=2)
    def test_the_closest_counts(self, connection):
        lookup(connection, 1)
        lookup(connection, 2)

    @pytest.mark.pgtrace(round_trips=2)
    def test_the_others_hold_too(self, connection):
        connection.execute("select 1")

def test_too_few(pgtrace, connection):
    with pgtrace.expect(round_trips=2, exact=True):
        lookup(connection, 1)

def test_the_blocks_own_error_wins(pgtrace, connection):
    with pgtrace.expect(round_trips=0):
        lookup(connection, 1)
        raise ValueError("of its own")

@pytest.mark.pgtrace(round_trips=0)
def test_the_tests_own_error_wins(connection):
    lookup(connection, 1)
    assert False, "of its own"
""")
    result = project.run("-rfE")
    result.assert_outcomes(passed=2, failed=4)
    result.stdout.fnmatch_lines(
        [
            "    queries is 1, at most 0",
            "pgtrace: test_shop.py::test_too_few window 1 is not within its budget",
            "    round_trips is 1, exactly 2",
            "E*ValueError: of its own",
            "1 round trip (psycopg)",
            "E*AssertionError: of its own",
            "*- pgtrace -*",
            "1 round trip (psycopg)",
            "*PBDES*select name from item where id = $1*",
            "pgtrace open *(mark test_shop.py::test_the_tests_own_error_wins)",
        ]
    )
    assert "round_trips is 1, at most 0" not in text(result)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("round_trip=4", "unknown counter 'round_trip'; did you mean round_trips"),
        ("round_trips='4'", "round_trips='4': a whole number, 0 or more"),
        ("4", "a budget names its counters: @pytest.mark.pgtrace(round_trips=4)"),
        ("round_trips=4, exact=1", "exact=1: True or False"),
    ],
)
def test_a_budget_that_means_nothing(project, marker, said):
    project.write(f"@pytest.mark.pgtrace({marker})\ndef test_it(): pass")
    result = project.run()
    result.assert_outcomes(errors=1)
    assert said in text(result)


def test_a_budget_for_nothing_that_came_through(project):
    project.write("""
@pytest.mark.pgtrace(round_trips=4)
def test_it():
    pass

@pytest.mark.pgtrace(round_trips=0)
def test_without_the_database():
    pass
""")
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["pgtrace: no connection went through pgtrace: make the code under test connect to pgtrace.dsn*"])


# Windows.


def test_a_wire_that_is_not_quiet(project):
    """What begins in a window and does not end within a second is counted as it is; what began before it is not waited for."""
    project.write("""
import threading

@pytest.fixture
def sleeper(pgtrace, connection):
    with psycopg.connect(pgtrace.dsn, autocommit=True) as other:
        asked = threading.Event()
        def sleep():
            try:
                asked.set()
                other.execute("select pg_sleep(60)")
            except psycopg.errors.QueryCanceled:
                pass
        thread = threading.Thread(target=sleep)
        def begin():
            thread.start()
            pid = other.info.backend_pid
            while not connection.execute("select 1 from pg_stat_activity where pid = %s and state = 'active'", (pid,)).fetchone():
                pass
        yield begin
        other.cancel_safe()
        thread.join()

def test_within(pgtrace, sleeper, connection):
    with pgtrace.record("within") as trace:
        sleeper()
    assert not trace.complete
    assert [row.is_open for row in trace.timeline].count(True) == 1
    assert "(still open)" in str(trace)

def test_before(pgtrace, sleeper, connection):
    sleeper()
    with pgtrace.record("before") as trace:
        lookup(connection, 1)
    assert trace.complete
    assert trace.round_trips == 1

@pytest.mark.pgtrace(round_trips=0)
def test_said(sleeper):
    sleeper()
""")
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*on 2 connections, c*: everything in this time counts, also from a pool or another thread",
            "*select pg_sleep(60)*(still open)",
            "the traffic did not stop within 1 s: counts are as of now",
        ]
    )


NEIGHBOURS = """
import threading

from pgtrace.inspect import details

@pytest.fixture(scope="session", autouse=True)
def pool(pgtrace_url):
    stop = threading.Event()
    def work():
        with psycopg.connect(pgtrace_url, autocommit=True, prepare_threshold=0) as connection:
            while not stop.is_set():
                connection.execute("select pg_sleep(0.003) as of_the_pool")  # always under way, and leaves the processor alone
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()

@pytest.fixture(scope="session")
def shared(pgtrace_url):
    with psycopg.connect(pgtrace_url, autocommit=True, prepare_threshold=0) as connection:
        yield connection

@pytest.mark.parametrize("number", range(24))
def test_its_own(pgtrace, shared, number):
    with pgtrace.record(f"window {number}") as trace:
        for _ in range(number % 5 + 1):
            shared.execute("select %s::text as mine", (f"value {number}",))
    assert trace.complete
    mine = trace.statement("select ... as mine")
    assert mine.executions == number % 5 + 1
    other = sum(one.executions for one in trace.statements if "pool" in one.sql)
    assert trace.executions == mine.executions + other
    place = list(trace.places)
    read = [details.read(trace.trace, one) for one, row in zip(place, trace.timeline) if "mine" in row.label.sql]
    values = {field.value for one in read for message in one.messages if message.name == "Bind"
              for field in message.fields() if field.depth}
    assert values == {f"'value {number}'"}
"""


def test_windows_do_not_mix(project):
    """Four workers with a recorder each, and other connections at work all the time: a window has its own values and nobody else's."""
    project.write(NEIGHBOURS)
    result = project.run("-n", "4")
    result.assert_outcomes(passed=24)
    assert project.kept == []


def test_lines_of_code_under_xdist(project):
    """Each worker has its own notes: a failure names the test's own line."""
    tests = "\n".join(
        f"""
@pytest.mark.pgtrace(round_trips=0)
def test_{number}(connection):
    lookup(connection, {number})
"""
        for number in range(6)
    )
    project.write(tests)
    result = project.run("-n", "2")
    result.assert_outcomes(failed=6)
    source = (COMMON + tests).strip().splitlines()
    place = next(number for number, line in enumerate(source, 1) if "return connection.execute" in line)
    assert text(result).count(f"at test_shop.py:{place} in lookup") >= 6


def test_a_label_belongs_to_one_test(project):
    for name in ("test_one", "test_other"):
        project.write(f"def {name}(pgtrace):\n    with pgtrace.record('checkout'): pass", name)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    said = "the label 'checkout' is used by two tests, test_one.py::test_one and test_other.py::test_other"
    assert said in text(result)
    result = project.run("-n", "2", "--dist", "loadfile")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "the label 'checkout' is used by" in text(result)


# Captures.


def test_the_capture_of_a_failure_stays(project):
    project.write("""
def test_passes(connection):
    lookup(connection, 1)

def test_fails(pgtrace, connection):
    lookup(connection, 1)
    assert pgtrace.round_trips == 0
""")
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    path = re.search(r"pgtrace open (\S+)", text(result))[1]
    assert [Path(path).parent] == project.kept
    with Capture(path) as capture:
        assert list(capture.marks) == ["test_shop.py::test_passes", "test_shop.py::test_fails"]
        assert capture.mark("test_shop.py::test_fails").round_trips == 1
        assert capture.complete


def test_all_captures_in_a_directory(project):
    project.write("""
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each(connection, number):
    for _ in range(number):
        lookup(connection, 1)
""")
    result = project.run("--pgtrace-captures", "kept", "-n", "2")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["captures are in kept"])
    paths = sorted(project.pytester.path.joinpath("kept").iterdir())
    assert len(paths) == 2
    with Capture(*paths) as capture:
        counted = {name: counters.round_trips for name, counters in capture.marks.items()}
    assert counted == {f"test_shop.py::test_each[{number}]": number for number in (1, 2, 3, 4)}
    told = subprocess.run(
        [sys.executable, "-m", "pgtrace", "stats", "--by", "mark", *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert all(name in told.stdout for name in counted)


# What a run says besides.


def test_costs_and_junit(project):
    project.write("""
def test_two(connection):
    lookup(connection, 1)
    lookup(connection, 2)

def test_none():
    pass
""")
    result = project.run("--pgtrace-costs", "--junit-xml", "junit.xml")
    result.stdout.fnmatch_lines(["test * set-up  round trips  exec  errors  wait ms", "test_shop.py::test_two * 2     2 *"])
    cases = ElementTree.parse(project.pytester.path / "junit.xml").getroot().iter("testcase")
    properties = {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}
    assert properties["test_two"] == {"pgtrace_round_trips": "2"}
    assert "wait ms" in text(project.run("-v"))
    assert "wait ms" not in text(project.run())


# Where PostgreSQL is.


def test_settings_that_are_read_at_import(project, server, monkeypatch):
    """The recorder is there before the first import: a module that opens its pool then is traced.
    The variable's own server is the upstream."""
    monkeypatch.setenv("DATABASE_URL", server.url().replace("postgresql://", "postgresql+psycopg://"))
    monkeypatch.setenv("PGPASSWORD", "from somewhere else")
    project.pytester.makeini(INI + "pgtrace_env = DATABASE_URL OTHER_URL")
    project.pytester.makepyfile(settings="import os\nURL, OTHER = os.environ['DATABASE_URL'], os.environ['OTHER_URL']")
    project.write("""
import os, settings

@pytest.mark.pgtrace(round_trips=1)
def test_it():
    assert settings.URL.startswith("postgresql+psycopg://")
    with psycopg.connect(settings.URL.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("select 1")
        connection.execute("select 2")

def test_the_other(pgtrace):
    with psycopg.connect(settings.OTHER) as connection:
        pass
    assert pgtrace.setup_round_trips
    assert f":{pgtrace.port}/" in settings.OTHER and f":{pgtrace.port}/" in settings.URL
    assert os.environ["PGPORT"] == str(pgtrace.port)

def test_without_the_database():
    assert settings.URL == "of this test"
""")
    result = project.run(upstream=False)
    result.assert_outcomes(passed=1, failed=2)
    assert "select 2" in text(result)
    assert text(result).count("pgtrace open") == 2  # in the failure, and at the end
    project.run("-n", "2", upstream=False).assert_outcomes(passed=1, failed=2)


def test_libpqs_variables(project, server, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    project.write("""
def test_it(pgtrace):
    with psycopg.connect(pgtrace.dsn) as connection:
        connection.execute("select 1")
    assert pgtrace.round_trips == 3
""")
    project.run(upstream=False).assert_outcomes(passed=1)


def test_a_password_file_and_a_socket(project, server, monkeypatch, tmp_path):
    """The server is reached by its socket: the recorder listens on one too, and the password is found for it."""
    file = tmp_path / "pgpass"
    file.write_text(
        f"localhost:{server.port}:*:{server.user}:{server.password}\n{server.socket_directory}:{server.port}:*:{server.user}:{server.password}\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    project.pytester.makeini(INI + f"pgtrace_upstream = {server.socket_directory}:{server.port}\npgtrace_rtt = 30ms")
    project.write("""
import os, time

def test_it(pgtrace):
    with psycopg.connect(host=pgtrace.host, port=pgtrace.port, user="postgres", autocommit=True) as connection:
        began = time.monotonic()
        connection.execute("select 1")
        assert time.monotonic() - began >= 0.03
    with psycopg.connect(pgtrace.url(user="postgres")):
        pass
    assert os.path.isdir(pgtrace.host)
    assert pgtrace.round_trips == 1
""")
    project.run(upstream=False).assert_outcomes(passed=1)
    assert list(project.temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "host"), [((), "/"), (("--pgtrace-listen", "127.0.0.1:0"), "127.0.0.1"), (("--pgtrace-allow-others",), "127.0.0.1")]
)
def test_where_it_listens_before_a_socket(project, server, options, host):
    project.write(f"""
def test_it(pgtrace):
    assert pgtrace.host.startswith({host!r})
    with psycopg.connect(pgtrace.url(user="postgres", password={server.password!r})):
        pass
""")
    upstream = f"{server.socket_directory}:{server.port}"
    project.run("--pgtrace-upstream", upstream, *options, upstream=False).assert_outcomes(passed=1)


def test_a_throw_away_server(project):
    project.write("""
def test_it(pgtrace, pgtrace_postgres):
    with psycopg.connect(pgtrace_postgres.url(), autocommit=True) as connection:
        connection.execute("create table here (id int)")
    with psycopg.connect(pgtrace.dsn, autocommit=True) as connection:
        assert connection.execute("select to_regclass('here')").fetchone() == (HERE,)
    assert pgtrace.round_trips == 1

HERE = "here"
""")
    project.run(upstream=False).assert_outcomes(passed=1)
    source = project.pytester.path / "test_shop.py"
    source.write_text(source.read_text().replace('HERE = "here"', "HERE = None"))
    project.run().assert_outcomes(passed=1)  # the tests have a server: the throw-away one is another


def test_no_server(project):
    project.write("def test_it(pgtrace): pass")
    result = project.run("--pgtrace-upstream", "127.0.0.1:1", upstream=False)
    result.assert_outcomes(errors=1)
    assert "pgtrace: cannot reach the upstream 127.0.0.1:1: Connection refused" in text(result)
    assert "pytest_plugin.py" not in text(result)


def test_a_run_without_it(project):
    """No fixture, no marker: nothing of pgtrace but the plugin is imported, and no process is started."""
    project.write("""
import sys
import tempfile

def test_it():
    ours = {name for name in sys.modules if name.partition(".")[0] == "pgtrace"}
    assert ours == {"pgtrace", "pgtrace.testing", "pgtrace.testing.pytest_plugin"}
    assert not {"construct", "click", "msgspec", "textual"} & set(sys.modules)
""")
    project.run(process=True).assert_outcomes(passed=1)
    assert list(project.temporary.iterdir()) == []


# Golden captures.

GOLDEN = """
@pytest.fixture
def prepared(pgtrace):
    with psycopg.connect(pgtrace.dsn, autocommit=True, prepare_threshold=0) as connection:
        connection.execute("create temporary table item (id int primary key, name text)")
        yield connection

def test_golden(pgtrace, prepared):
    with pgtrace.record("checkout") as trace:
        for number in range(3):
            lookup(prepared, number)
    trace.assert_matches("checkout")
"""


@pytest.fixture
def golden(project):
    """A project with a golden that was written by its first run."""
    project.write(GOLDEN)
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"golden written: {Path('captures', 'checkout.trace')}; review it and commit it"])
    project.golden = project.pytester.path / "captures" / "checkout.trace"
    return project


def test_a_golden_is_libpqs_trace_and_matches_again(golden, monkeypatch):
    lines = golden.golden.read_text().splitlines()
    assert lines[0] == "# pgtrace golden 1"
    assert any(line.startswith("F\t") and "select name from item where id = $1" in line for line in lines)
    monkeypatch.setenv("CI", "true")
    result = golden.run()
    result.assert_outcomes(passed=1)
    assert "written" not in text(result)
    with Capture(golden.golden) as capture:
        assert (capture.round_trips, capture.executions) == (4, 3)


def test_a_golden_that_is_not_there(project, monkeypatch):
    project.write(GOLDEN)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "it does not exist: run the test once on your machine, review what it wrote, and commit it" in text(result)
    assert not project.pytester.path.joinpath("captures").exists()
    project.run("--pgtrace-update").assert_outcomes(passed=1)
    assert project.pytester.path.joinpath("captures", "checkout.trace").exists()


CHANGES = {
    "one query more": (
        ("lookup(prepared, number)", "lookup(prepared, number); number == 1 and prepared.execute('select 42 as more', prepare=False)"),
        "*+1 round trip: select $1 as more is new",
    ),
    "not reused": (
        ("lookup(prepared, number)", "lookup(prepared, number); prepared.execute('deallocate all'); prepared._prepared.clear()"),
        "*the Parse of select name from item where id = $1 is no longer reused*",
    ),
    "another format": (
        ('where id = %s", (number,))', 'where id = %s", (number,), binary=True)'),
        "*results of select name from item where id = $1*binary*text*",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_said(golden, change):
    """In words, and before everything else: which query it is can be read without opening anything."""
    (before, after), said = CHANGES[change]
    golden.write(GOLDEN)
    source = golden.pytester.path / "test_shop.py"
    changed = source.read_text().replace(before, after)
    assert changed != source.read_text()
    source.write_text(changed)
    result = golden.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "pgtrace: checkout differs from captures/checkout.trace",
            said,
            "if this is intended: run pytest --pgtrace-update*",
            "pgtrace open */capture   (mark checkout)",
        ]
    )
    old = golden.golden.read_bytes()
    golden.run("--pgtrace-update").assert_outcomes(passed=1)
    assert golden.golden.read_bytes() != old
    golden.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("link", ["golden", "dangling", "directory"])
def test_a_golden_is_never_written_through_a_symbolic_link(golden, tmp_path, link):
    """Somebody else's file would be changed, in the name of whoever runs the tests."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "checkout.trace").write_text("# pgtrace golden 1\n")
    if link == "directory":
        golden.golden.unlink()
        golden.golden.parent.rmdir()
        golden.golden.parent.symlink_to(elsewhere)
    else:
        golden.golden.unlink()
        golden.golden.symlink_to(elsewhere / ("checkout.trace" if link == "golden" else "new.trace"))
    result = golden.run("--pgtrace-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*symbolic link, and goldens are not written through one*"])
    assert [(path.name, path.read_text()) for path in elsewhere.iterdir()] == [("checkout.trace", "# pgtrace golden 1\n")]


def test_other_values_are_no_difference(golden):
    source = golden.pytester.path / "test_shop.py"
    source.write_text(source.read_text().replace("lookup(prepared, number)", "lookup(prepared, number + 100_000)"))
    old = golden.golden.read_bytes()
    golden.run("--pgtrace-update").assert_outcomes(passed=1)
    assert golden.golden.read_bytes() == old
    golden.golden.write_text("this is no golden")
    result = golden.run()
    result.assert_outcomes(failed=1)
    assert "unknown file type: not a capture, pcap, jsonl or golden" in text(result)


def test_a_golden_belongs_to_one_test(project):
    project.write(
        GOLDEN
        + GOLDEN[GOLDEN.index("def test_golden") :].replace("test_golden", "test_other").replace('record("checkout")', 'record("other")')
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    assert "it is also the golden of test_shop.py::test_golden" in text(result)
    project.write(GOLDEN.replace('assert_matches("checkout")', 'assert_matches("../checkout")'))
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "'../checkout' is not a valid name for a golden" in text(result)


# docs/testing.md.

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page(project):
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    project.pytester.makepyfile(test_page="import unittest\n\nimport psycopg\nimport pytest\n\n" + "\n".join(examples))
    project.run().assert_outcomes(passed=len(examples))
    assert len(examples) == 7
    project.run().assert_outcomes(passed=len(examples))  # with the golden that was written


def test_the_page_has_every_option_and_setting(pytestconfig):
    table = "".join(line for line in PAGE.splitlines(True) if line.startswith("|"))
    parser = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(parser)
    options = {name for group in parser._groups for option in group.options for name in option.names()}
    assert options == set(re.findall(r"(--pgtrace-[a-z-]+)", table)) >= {"--pgtrace-upstream"}
    assert set(parser._inidict) == set(re.findall(r"`(pgtrace_[a-z_]+)`", table)) - {"pgtrace_url", "pgtrace_postgres", "pgtrace_serve"}


# What was not recorded.


def test_budgets_and_goldens_of_what_was_not_recorded_fail(project, tmp_path, monkeypatch):
    """Though nothing that was counted is too much: it is too little. A test before it, and one after, are as ever."""
    order = bad_disk(tmp_path / "disk", monkeypatch)
    order("")
    orders = str(tmp_path / "disk" / "orders")
    project.write(f"""
import os, pathlib

def disk(what):
    pathlib.Path({orders!r}).write_text(what)

@pytest.mark.pgtrace(errors=0)
def test_before(connection):
    lookup(connection, 1)

@pytest.mark.pgtrace(errors=0)
def test_budget(connection):
    disk("ENOSPC")
    connection.execute("select repeat('x', 100000)")

def test_golden(pgtrace, connection):
    disk("")
    with pgtrace.record("looked up") as trace:
        disk("ENOSPC")
        lookup(connection, 1)
    disk("")
    trace.assert_matches()

def test_assertion(pgtrace, connection):
    with pgtrace.record("asserted") as trace:
        disk("ENOSPC")
        lookup(connection, 1)
    assert trace.round_trips <= 50

def test_disk_is_back():
    disk("")

@pytest.mark.pgtrace(errors=0)
def test_after(connection):
    lookup(connection, 1)
""")
    result = project.run()
    said = text(result)
    assert said.count("pgtrace: incomplete: ") >= 3
    assert "the capture's disk failed or accepted nothing" in said
    result.assert_outcomes(passed=3, failed=3)


def test_an_upstream_that_only_a_fixture_knows(project, server):
    project.pytester.makeconftest(f"""
import pytest
@pytest.fixture(scope="session")
def pgtrace_upstream():
    return {server.url()!r}
""")
    project.pytester.makepyfile("""
import psycopg, pytest
@pytest.mark.pgtrace(round_trips=1)
def test_it(pgtrace, pgtrace_url):
    with psycopg.connect(pgtrace_url, autocommit=True) as connection:
        connection.execute("select 1")
""")
    project.pytester.runpytest_subprocess("-q", "-pno:cacheprovider").assert_outcomes(passed=1)


def test_a_fixture_is_too_late_where_the_recorder_has_started(project, server, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", server.url())
    project.pytester.makeini(INI + "pgtrace_env = DATABASE_URL")
    project.pytester.makeconftest("import pytest\n@pytest.fixture(scope='session')\ndef pgtrace_upstream():\n    return 'db:1'\n")
    project.pytester.makepyfile("def test_it(pgtrace):\n    pass\n")
    result = project.pytester.runpytest_subprocess("-q", "-pno:cacheprovider")
    result.stdout.fnmatch_lines(["*the fixture pgtrace_upstream comes too late*"])


def test_a_golden_whose_directory_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptureError, match="captures: cannot be created: not a directory"):
        goldens.write(tmp_path / "file" / "captures" / "checkout.trace", "text")
