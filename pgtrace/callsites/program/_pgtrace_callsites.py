"""Notes the line of the program that sends each statement, in the program's own process.

The hooks are the last Python calls before the wire, below the public methods of asyncpg, psycopg,
psycopg2 and pg8000: the text that goes to the server is known there, and one call is one execution.
Nothing on the wire changes.

A note is 32 bytes in a mapped file of this process, in the directory that PGTRACE_CALL_SITES names;
the recorder reads it from there, and it survives the end of the process. notes.py of pgtrace has
the layout. The places in the source are numbered, and written as lines of a text file beside it. No
file is created before the first note.

The place is the innermost frame of the application: not of a driver, an ORM, a framework, the
standard library or generated code. Installed code that is none of these comes second. The search
ends at the border of a task: the coroutine that the event loop runs. Where a library made that
task, the place that asked for it was noted then, in a context variable that the task copied. Below
SQLAlchemy's greenlet_spawn the greenlet's own frames come first.

A note also says if its connection has changed hands inside a transaction (HANDED_ON): the task or
thread that began it is another, and neither is below the other. A task is below the one that
started it; one that synchronous code runs is that code's thread, and what a library awaits in a
task of its own (wait_for) is no other. The main thread and the workers of an executor may work for
any task, so they never count as another.

A note also has the marks that are open: `with pgtrace.mark("checkout")` sets a context variable,
which a task copies, so tasks that overlap do not count each other. The end of a mark is a note too,
with its duration. With PGTRACE_MARKS in place of PGTRACE_CALL_SITES only marks are noted, and
statements outside of them are not.

It runs on Python 3.8 and later and imports nothing of pgtrace. Whatever fails here must not fail
the program.
"""

import os
import sys

SLOT_BYTES = 32
SLOTS = 32768
MOST_FILES = 256
MOST_SITES = 100000
WHOLE = 0xFFFFFFFF
BATCH = 1
PREPARE = 2
NO_STATEMENT = b"\0"
"""The text of a note without a statement, such as for Close. No statement has this text."""
HANDED_ON = 4
MARK = 8
ASYNCPG, PSYCOPG, PSYCOPG2, PG8000 = (number << 8 for number in (1, 2, 3, 4))
"""The driver of a connection, in the flags."""
LONGEST_MARK = 200
DEEPEST_MARK = 16
SEPARATOR = "\x1f"

_SKIP, _APPLICATION, _INSTALLED, _GREENLET, _AWAITING = range(5)
"""The kinds of frames: skipped, the application's, an installed package's, the one below which a
greenlet runs, a skipped coroutine.
"""
_ASYNC = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR
_RESUMED = _ASYNC | 0x20 | 0x100  # CO_GENERATOR, CO_ITERABLE_COROUTINE
_LAYERS = frozenset(
    """
    _pgtrace_callsites aiopg alembic anyio apscheduler asgiref asyncpg celery channels click
    concurrent databases django django_filters dramatiq factory fastapi flask flask_sqlalchemy
    gevent gino graphene greenlet gunicorn huey hypercorn hypothesis litestar opentelemetry ormar
    peewee pg8000 piccolo pluggy pony psycopg psycopg2 psycopg_binary psycopg_c psycopg_pool
    pydantic pypika pytest _pytest pytest_asyncio quart rest_framework rq sanic scramp sentry_sdk
    sqlalchemy sqlmodel starlette strawberry tenacity tortoise trio typer uvicorn uvloop werkzeug
    wrapt xdist
    """.split()
)
"""Top-level names of drivers, ORMs and frameworks, whose frames are not the application's."""
_TYPED = ("<stdin>", "<console>")

_getframe = sys._getframe
_NO_CODE = id(None)
_kinds = {}
"""Id of a code object -> kind of its frames. An id is quicker than a hash; _codes keeps the object
alive.
"""
_codes = []
_where = None
_lines = True
_marks = None
_outer = None
_unit = None
_of_thread = None
_lock = None
_file = None
_modules = {}


class _File:
    """The mapped file that is being filled, and its sites."""

    def __init__(self, generation):
        import mmap
        from itertools import count

        self.pid = os.getpid()
        self.generation = generation
        name = "%d-%x-%d" % (self.pid, _modules["time"].monotonic_ns(), generation)
        path = os.path.join(_where, name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path + ".new", flags, 0o600)
        try:
            # with holes in it, a full disk would end the program (SIGBUS)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, SLOT_BYTES * SLOTS)
            else:
                os.ftruncate(descriptor, SLOT_BYTES * SLOTS)
            self.map = mmap.mmap(descriptor, SLOT_BYTES * SLOTS)
        except Exception:
            os.unlink(path + ".new")
            raise
        finally:
            os.close(descriptor)
        self.sites = os.open(path + ".sites", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        os.rename(path + ".new", path + ".notes")
        self.next = count().__next__
        self.full = False
        self.known = {}
        self.codes = []

    def site(self, place, marks):
        """The number of a place in the source with these open marks; 0 beyond MOST_SITES. The place
        may be None.
        """
        code, line = place or (None, 0)
        key = (id(code), line, marks)
        with _lock:
            number = self.known.get(key)
            if number is None:
                if len(self.known) >= MOST_SITES:
                    return 0
                number = len(self.known) + 1
                self.codes.append(code)
                name = _shown(code.co_filename) if code is not None else ""
                function = getattr(code, "co_qualname", code.co_name) if code is not None else ""
                fields = (str(number), str(line), name, function, SEPARATOR.join(marks))
                text = "\t".join(field.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for field in fields)
                os.write(self.sites, text.encode("utf-8", "surrogateescape") + b"\n")
                self.known[key] = number
        return number

    def close(self):
        os.close(self.sites)


def _shown(path):
    """A path below the working directory as one relative to it."""
    path = os.path.abspath(path) if not path.startswith("<") else path
    here = _modules["here"] + os.sep
    return path[len(here) :] if path.startswith(here) else path


def _current():
    """The file to write to; None if it cannot be created."""
    global _file, _where
    with _lock:
        known = _file
        if known is not None and known.pid == os.getpid() and not known.full:
            return known
        try:
            forked = known is not None and known.pid != os.getpid()
            generation = 0 if known is None or forked else known.generation + 1
            if generation >= MOST_FILES:
                _where = None
                return None
            made = _File(generation)
            if known is not None and not forked:
                known.close()
            _file = made
        except Exception:
            _where = None
            return None
    return _file


class _Key:
    """The fields that all notes of one connection share."""

    __slots__ = ("backend", "began", "driver", "is_idle", "port")

    def __init__(self, port, backend, is_idle, driver=0):
        self.driver = driver
        self.port = port
        self.backend = backend
        self.is_idle = is_idle
        self.began = None


class _Unit:
    """A task or a thread that uses connections."""

    __slots__ = ("above",)

    def __init__(self, above):
        self.above = above


_ANYBODY = _Unit(None)
MOST_ABOVE = 50


def _running():
    """The unit that is running."""
    unit = _unit.get()
    if unit is not None:
        return unit
    unit = getattr(_of_thread, "unit", None)
    if unit is None:
        import threading

        thread = threading.current_thread()
        target = getattr(thread, "_target", None)
        is_own = thread is not threading.main_thread() and getattr(target, "__module__", "concurrent") not in (
            "concurrent.futures.thread",
            "concurrent",
        )
        unit = _of_thread.unit = _Unit(None) if is_own else _ANYBODY
    return unit


def _is_below(unit, other):
    for _ in range(MOST_ABOVE):
        if unit is other:
            return True
        if unit is None:
            return False
        unit = unit.above
    return True


def _handed_on(key, sender):
    """HANDED_ON if another task or thread began the open transaction, else 0."""
    unit = _running()
    began = key.began
    if unit is began:
        return 0
    if began is None or key.is_idle(sender):
        key.began = unit
        return 0
    if unit is _ANYBODY or began is _ANYBODY or _is_below(unit, began) or _is_below(began, unit):
        return 0
    return HANDED_ON


def note(key, text, sender, flags=0, length=WHOLE):
    """Note that a statement is about to be sent. `text` is bytes or str, of which `length` bytes
    are compared. `sender` is passed to key.is_idle, which says whether no transaction is open.
    """
    if _where is None:
        return
    try:
        marks = _marks.get()
        place = None
        if _lines:
            place = _place(2)
        elif not marks:
            return
        known = _file
        if known is None or known.pid != os.getpid():
            known = _current()
            if known is None:
                return
        slot = known.next()
        if slot >= SLOTS:
            known.full = True
            known = _current()
            if known is None:
                return
            slot = known.next()
        if place is None and not marks:
            number = 0
        else:
            number = known.known.get((id(place[0]), place[1], marks) if place is not None else (_NO_CODE, 0, marks))
            if number is None:
                number = known.site(place, marks)
        if not isinstance(text, bytes):
            text = text.encode("utf-8", "surrogateescape")
        _modules["pack_into"](
            known.map,
            slot * SLOT_BYTES,
            _modules["monotonic_ns"](),
            _modules["crc32"](text),
            length,
            number,
            key.backend & 0xFFFFFFFF,  # drivers read it as a signed number
            key.port,
            flags | key.driver | _handed_on(key, sender),
            slot + 1,
        )
    except Exception:  # noqa: S110 (the program comes first)
        pass


class mark:
    """`with mark("checkout"):` what this block sends, and the tasks that it starts, is in that
    mark. Marks nest."""

    def __init__(self, name):
        self.name = str(name)[:LONGEST_MARK].replace(SEPARATOR, " ")
        self._token = None

    def __enter__(self):
        if _where is not None and _marks is not None:
            outside = _marks.get()
            if len(outside) < DEEPEST_MARK:
                self._inside = (*outside, self.name)
                self._began_ns = _modules["monotonic_ns"]()
                self._token = _marks.set(self._inside)
        return self

    def __exit__(self, *error):
        token, self._token = self._token, None
        if token is None:
            return
        try:
            _marks.reset(token)
        except ValueError:  # it began in another context
            pass
        try:
            _end(self._inside, self._began_ns)
        except Exception:  # noqa: S110 (the program comes first)
            pass

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *error):
        self.__exit__(*error)


def _end(marks, began_ns):
    """Note the end of a mark, and how many microseconds it took."""
    known = _file
    while True:
        if known is None or known.full or known.pid != os.getpid():
            known = _current()
            if known is None:
                return
        slot = known.next()
        if slot < SLOTS:
            break
        known.full = True
    number = known.known.get((_NO_CODE, 0, marks))
    if number is None:
        number = known.site(None, marks)
    now_ns = _modules["monotonic_ns"]()
    took_us = min((now_ns - began_ns) // 1000, WHOLE)
    _modules["pack_into"](known.map, slot * SLOT_BYTES, now_ns, 0, took_us, number, 0, 0, MARK, slot + 1)


def _place(depth):
    """The code object and the line of the application that is running; None if there is none."""
    frame = _getframe(depth + 1)
    second = None
    known = _kinds.get
    while frame is not None:
        code = frame.f_code
        kind = known(id(code), -1)
        if not kind:  # most are left out
            frame = frame.f_back
            continue
        if kind < 0:
            kind = _kind(code, frame)
        if kind == _APPLICATION:
            return code, frame.f_lineno
        if kind == _INSTALLED and second is None:
            second = code, frame.f_lineno
        elif kind == _GREENLET:
            inner = _of_greenlet(frame)
            if inner is not None:
                return inner
        back = frame.f_back
        if code.co_flags & _ASYNC and (back is None or not back.f_code.co_flags & _RESUMED):
            break
        frame = back
    return _outer.get() or second


def _of_greenlet(frame):
    """Like _place(), in the greenlet that SQLAlchemy runs from that frame."""
    inner = getattr(frame.f_locals.get("context"), "gr_frame", None)
    while inner is not None:
        code = inner.f_code
        kind = _kinds.get(id(code))
        if kind is None:
            kind = _kind(code, inner)
        if kind == _APPLICATION:
            return code, inner.f_lineno
        inner = inner.f_back
    return None


def _kind(code, frame):
    if len(_codes) >= MOST_SITES:
        _kinds.clear()
        _codes.clear()
    name = frame.f_globals.get("__name__") or ""
    _codes.append(code)
    kind = _kind_of(code.co_filename, name, code.co_name)
    if kind == _SKIP and code.co_flags & _ASYNC:
        kind = _AWAITING
    _kinds[id(code)] = kind
    return kind


def _kind_of(path, module, function):
    top = module.partition(".")[0]
    if top in _LAYERS:
        return _GREENLET if function == "greenlet_spawn" and top == "sqlalchemy" else _SKIP
    if path.startswith("<"):
        typed = path in _TYPED or path.startswith("<ipython-input") or (path == "<string>" and module == "__main__")
        return _APPLICATION if typed else _SKIP
    path = os.path.abspath(path)
    parts = path.replace("\\", "/").split("/")
    if "site-packages" in parts or "dist-packages" in parts:
        return _INSTALLED
    if path.startswith(_modules["standard"]):
        return _SKIP
    return _APPLICATION


def _named(place):
    """Whether the code of that coroutine is a library's, so that the frames of its task will not
    name the application."""
    code = getattr(place, "cr_code", None) or getattr(place, "gi_code", None)
    if code is None:
        return False
    kind = _kinds.get(id(code))
    if kind is None:
        frame = getattr(place, "cr_frame", None) or getattr(place, "gi_frame", None)
        if frame is None:
            return False
        kind = _kind(code, frame)
    return kind != _APPLICATION


# Watching drivers.


def _begin():
    """Import what notes need, when the first driver is imported."""
    global _where, _lines, _marks, _outer, _unit, _of_thread, _lock
    if _lock is not None:
        return
    import struct
    import threading
    import time
    import zlib
    from contextvars import ContextVar

    _modules["time"] = time
    _modules["monotonic_ns"] = time.monotonic_ns
    _modules["crc32"] = zlib.crc32
    _modules["pack_into"] = struct.Struct("<QIIIIHHI").pack_into
    _modules["standard"] = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    _modules["here"] = os.getcwd()
    _outer = ContextVar("pgtrace_call_site", default=None)
    _unit = ContextVar("pgtrace_unit", default=None)
    _marks = ContextVar("pgtrace_marks", default=())
    _of_thread = threading.local()
    _where = os.environ.get("PGTRACE_CALL_SITES") or os.environ.get("PGTRACE_MARKS") or None
    _lines = bool(os.environ.get("PGTRACE_CALL_SITES"))
    _lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _forked():
    global _file, _lock
    import threading

    _lock = threading.Lock()
    _file = None


def _replace(owner, name, make):
    original = getattr(owner, name, None)
    if original is not None and not getattr(original, "_pgtrace", False):
        hook = make(original)
        hook._pgtrace = True
        setattr(owner, name, hook)


def _closes(key):
    """Note that a driver closes statements between the round trips of a query, in that query's
    marks.
    """

    def make(original):
        def hook(self, *arguments, **named):
            note(key(self), NO_STATEMENT, self, PREPARE)
            return original(self, *arguments, **named)

        return hook

    return make


def _port(descriptor):
    """The local port of a connected socket; 0 for a Unix socket."""
    import socket

    try:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            name = one.getsockname()
    except OSError:
        return 0
    return name[1] if isinstance(name, tuple) and len(name) > 1 else 0


_AWAITED = frozenset(("wait_for", "shield"))
"""Functions of asyncio that await a coroutine in a separate task."""


def _is_awaited():
    """Whether the caller's caller makes a task that it awaits itself."""
    frame = _getframe(2)
    for _ in range(3):
        if frame is None:
            return False
        if frame.f_code.co_name in _AWAITED:
            return True
        frame = frame.f_back
    return False


def _tasks(owner):
    def make(create_task):
        def hook(self, coro, *arguments, **named):
            place = unit = None
            if _where is not None and _lines:
                try:
                    library = _named(coro)
                    place = _place(1) if library else None
                    if place is None and not (library is False and _is_awaited()):
                        unit = _Unit(_running()) if self.is_running() else _running()
                except Exception:
                    place = unit = None
            if place is None and unit is None:
                return create_task(self, coro, *arguments, **named)
            at = _outer.set(place or _outer.get())
            by = _unit.set(unit or _unit.get())
            try:
                return create_task(self, coro, *arguments, **named)
            finally:
                _unit.reset(by)
                _outer.reset(at)

        return hook

    _replace(owner, "create_task", make)


def _base_events(module):
    _begin()
    _tasks(module.BaseEventLoop)


def _uvloop(module):
    _begin()
    _tasks(module.Loop)


def _asgiref(module):
    _begin()

    def make(call):
        async def hook(self, *arguments, **named):
            token = _outer.set(_place(1) or _outer.get())
            try:
                return await call(self, *arguments, **named)
            finally:
                _outer.reset(token)

        return hook

    _replace(module.SyncToAsync, "__call__", make)


def _asyncpg(module):
    _begin()

    def key(protocol):
        try:
            return protocol._pgtrace_key
        except AttributeError:
            name = protocol.transport.get_extra_info("sockname") if getattr(protocol, "transport", None) else None
            if name is None:
                one = protocol._pgtrace_transport.get_extra_info("socket")
                name = one.getsockname() if one is not None else None
            port = name[1] if isinstance(name, tuple) and len(name) > 1 else 0
            protocol._pgtrace_key = found = _Key(port, protocol.get_server_pid() or 0, is_idle, ASYNCPG)
            return found

    def is_idle(protocol):
        return not protocol.is_in_transaction()

    def connected(made):
        def hook(self, transport):
            self._pgtrace_transport = transport
            return made(self, transport)

        return hook

    def by_state(flags):
        def make(original):
            def hook(self, state, *arguments, **named):
                note(key(self), state.query, self, flags)
                return original(self, state, *arguments, **named)

            return hook

        return make

    def query(original):
        def hook(self, query, *arguments, **named):
            note(key(self), query, self)
            return original(self, query, *arguments, **named)

        return hook

    def prepare(original):
        def hook(self, name, query, *arguments, **named):
            note(key(self), query, self, PREPARE)
            return original(self, name, query, *arguments, **named)

        return hook

    def copied(original):
        def hook(self, statement, *arguments, **named):
            note(key(self), statement, self)
            return original(self, statement, *arguments, **named)

        return hook

    owner = module.Protocol
    _replace(owner, "connection_made", connected)
    _replace(owner, "close_statement", _closes(key))
    _replace(owner, "query", query)
    _replace(owner, "prepare", prepare)
    _replace(owner, "bind_execute", by_state(0))
    _replace(owner, "bind_execute_many", by_state(BATCH))
    _replace(owner, "execute", by_state(0))
    _replace(owner, "bind", by_state(PREPARE))
    _replace(owner, "copy_in", copied)
    _replace(owner, "copy_out", copied)


def _psycopg_key(connection):
    try:
        return connection._pgtrace_key
    except AttributeError:
        inner = connection.pgconn
        connection._pgtrace_key = found = _Key(_port(inner.socket), inner.backend_pid, _is_psycopg_idle, PSYCOPG)
        return found


def _is_psycopg_idle(connection):
    return connection.pgconn.transaction_status == 0


def _sends_query(original):
    def hook(self, query, *arguments, **named):
        note(_psycopg_key(self._conn), query.query, self._conn)
        return original(self, query, *arguments, **named)

    return hook


def _psycopg_cursor(module):
    _begin()

    def sends_prepared(flags):
        def make(original):
            def hook(self, name, query, *arguments, **named):
                note(_psycopg_key(self._conn), query.query, self._conn, flags)
                return original(self, name, query, *arguments, **named)

            return hook

        return make

    _replace(module.BaseCursor, "_execute_send", _sends_query)
    _replace(module.BaseCursor, "_send_query_prepared", sends_prepared(0))
    _replace(module.BaseCursor, "_send_prepare", sends_prepared(PREPARE))


def _psycopg_client_cursor(module):
    _begin()
    _replace(module.ClientCursorMixin, "_execute_send", _sends_query)


def _psycopg_connection(module):
    _begin()

    def make(original):
        def hook(self, command, *arguments, **named):
            text = command
            try:
                if not isinstance(command, (bytes, str)):
                    text = command.as_bytes(self)
                note(_psycopg_key(self), text, self)
            except Exception:  # noqa: S110 (psycopg itself says what is wrong)
                pass
            return original(self, command, *arguments, **named)

        return hook

    _replace(module.BaseConnection, "_exec_command", make)
    _replace(module.BaseConnection, "_deallocate", _closes(_psycopg_key))


def _psycopg2(module):
    _begin()
    from psycopg2 import extensions

    classes = {}

    def literal(text):
        """The bytes of a template before its first value, and their number."""
        if isinstance(text, str):
            text = text.encode("utf-8", "surrogateescape")
        whole, percent, _ = text.partition(b"%")
        return whole, (len(whole) if percent else WHOLE)

    def is_idle(connection):
        return connection.get_transaction_status() == 0

    def noted(cursor, text, has_values, flags=0, declares=True):
        """Note a query; for a named cursor, the DECLARE that is sent."""
        try:
            connection = cursor.connection
            key = connection.__dict__.get("_pgtrace_key")
            if key is None:
                key = connection._pgtrace_key = _Key(_port(connection.fileno()), connection.info.backend_pid, is_idle, PSYCOPG2)
            name = getattr(cursor, "name", None) if declares else None
            if name is not None:
                text, has_values = 'DECLARE "' + name.replace('"', '""') + '" %', True
            elif not isinstance(text, (bytes, str)):
                text = text.as_string(cursor)
            if has_values:
                text, length = literal(text)
                note(key, text, connection, flags, length)
            else:
                note(key, text, connection, flags)
        except Exception:  # noqa: S110 (psycopg2 itself says what is wrong)
            pass

    def cursor_class(base):
        class Cursor(base):
            def execute(self, query, vars=None):
                noted(self, query, vars is not None)
                return super().execute(query, vars)

            def executemany(self, query, vars_list):
                noted(self, query, True, BATCH)
                return super().executemany(query, vars_list)

            def callproc(self, procname, *arguments):
                noted(self, "SELECT * FROM %s(" % procname, True)
                return super().callproc(procname, *arguments)

            def copy_expert(self, sql, *arguments, **named):
                noted(self, sql, False)
                return super().copy_expert(sql, *arguments, **named)

        return _alike(Cursor, base)

    def named_cursor_class(base):
        """A subclass that notes the statements that a named cursor assembles in C, in addition to
        its query.
        """

        def sends(method, text):
            def hook(self, *arguments, **named):
                noted(self, text(self), True, declares=False)
                return method(self, *arguments, **named)

            return hook

        def fetch(self):
            return "FETCH FORWARD %"

        class Named(cursor_class(base)):
            fetchone = sends(base.fetchone, fetch)
            fetchmany = sends(base.fetchmany, fetch)
            fetchall = sends(base.fetchall, fetch)
            scroll = sends(base.scroll, lambda self: "MOVE %")
            close = sends(base.close, lambda self: 'CLOSE "' + self.name.replace('"', '""') + '"%')

            def __next__(self):
                if (self.rownumber or 0) >= self.rowcount:
                    noted(self, "FETCH FORWARD %", True, declares=False)
                return base.__next__(self)

        return _alike(Named, base)

    def connection_class(base):
        class Connection(base):
            def cursor(self, *arguments, **named):
                arguments = list(arguments)
                given = arguments[1] if len(arguments) > 1 else named.get("cursor_factory")
                factory = given or self.cursor_factory or extensions.cursor
                name = arguments[0] if arguments else named.get("name")
                if isinstance(factory, type):
                    made = subclass(factory, cursor_class if name is None else named_cursor_class)
                    if len(arguments) > 1:
                        arguments[1] = made
                    else:
                        named["cursor_factory"] = made
                return super().cursor(*arguments, **named)

            def commit(self):
                noted(_OfConnection(self), "COMMIT", False)
                return super().commit()

            def rollback(self):
                noted(_OfConnection(self), "ROLLBACK", False)
                return super().rollback()

        return _alike(Connection, base)

    def subclass(base, make):
        found = classes.get((base, make))
        if found is None:
            found = base if base in classes.values() else make(base)
            classes[base, make] = found
        return found

    def make(original):
        def hook(dsn, connection_factory=None, *arguments, **named):
            factory = connection_factory or extensions.connection
            if isinstance(factory, type):
                connection_factory = subclass(factory, connection_class)
            return original(dsn, connection_factory, *arguments, **named)

        return hook

    _replace(module, "_connect", make)


class _OfConnection:
    """Stands for a cursor when the connection itself sends."""

    def __init__(self, connection):
        self.connection = connection


def _alike(made, base):
    """Give a subclass the name and documentation of its base."""
    made.__name__, made.__qualname__, made.__module__, made.__doc__ = base.__name__, base.__qualname__, base.__module__, base.__doc__
    return made


def _pg8000(module):
    _begin()

    def key(connection):
        try:
            return connection._pgtrace_key
        except AttributeError:
            data = connection._backend_key_data or b"\0" * 4
            port, backend = _port(connection._usock.fileno()), int.from_bytes(data[:4], "big")
            connection._pgtrace_key = found = _Key(port, backend, is_idle, PG8000)
            return found

    def is_idle(connection):
        return connection._transaction_status not in (b"T", b"E")

    def sends(flags):
        def make(original):
            def hook(self, statement, *arguments, **named):
                note(key(self), statement, self, flags)
                return original(self, statement, *arguments, **named)

            return hook

        return make

    def executes_named(original):
        def hook(self, name, params, columns, input_funcs, statement, *arguments, **named):
            note(key(self), statement, self)
            return original(self, name, params, columns, input_funcs, statement, *arguments, **named)

        return hook

    owner = module.CoreConnection
    _replace(owner, "execute_simple", sends(0))
    _replace(owner, "execute_unnamed", sends(0))
    _replace(owner, "prepare_statement", sends(PREPARE))
    _replace(owner, "execute_named", executes_named)
    _replace(owner, "close_prepared_statement", _closes(key))


_WATCHED = {
    "asyncio.base_events": _base_events,
    "uvloop": _uvloop,
    "asgiref.sync": _asgiref,
    "asyncpg.protocol.protocol": _asyncpg,
    "psycopg._cursor_base": _psycopg_cursor,
    "psycopg.client_cursor": _psycopg_client_cursor,
    "psycopg._connection_base": _psycopg_connection,
    "psycopg2": _psycopg2,
    "pg8000.core": _pg8000,
}


class _Finder:
    """An import hook that finds nothing itself, but watches a driver once it is imported."""

    def find_spec(self, name, path=None, target=None):
        hook = _WATCHED.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    self._after(spec.loader, hook)
                    return spec
        return None

    def _after(self, loader, hook):
        run = getattr(loader, "exec_module", None)
        if run is None:
            return

        def exec_module(module):
            run(module)
            _watched(hook, module)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass


def _watched(hook, module):
    try:
        hook(module)
    except Exception:  # noqa: S110 (a version that looks different is not watched)
        pass


def note_in(directory):
    """Write notes to that directory from now on, and watch the drivers."""
    global _where, _file, _lines
    _begin()
    with _lock:
        _where, _file, _lines = directory, None, True
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        watch()


class _Stub:
    """An import hook that provides a `pgtrace` with only mark(), if pgtrace is not installed; it is
    the last finder.
    """

    def find_spec(self, name, path=None, target=None):
        if name != "pgtrace":
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        _begin()
        module.mark = mark


def watch():
    """Watch the drivers that are or will be imported."""
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_Stub())
    for name, hook in _WATCHED.items():
        module = sys.modules.get(name)
        if module is not None:
            _watched(hook, module)
