"""Options that several commands share, and the types of their values. recorder_options.py has those
of the commands that record."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from pgtrace.parameters import DEFAULT_PORT

if TYPE_CHECKING:
    from pgtrace.ask.filter import Filter

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_SMALLEST_KEEP = 1 << 20
_LARGEST_KEEP = 10**18
FILE = click.Path(path_type=Path, readable=False)
"""A path as typed. The reader reports a file that cannot be read, with its own words and exit code.
"""


class Size(click.ParamType[int]):
    """`512MiB`, `1GiB`, `64k`. The value is bytes; k, M and G are powers of 1000, Ki, Mi and Gi of
    1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is not a size such as 512MiB or 1GiB", param, ctx)
        size: float = float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
        if size < _SMALLEST_KEEP:
            self.fail(f"{value!r} is too small: at least 1MiB", param, ctx)
        if size > _LARGEST_KEEP:
            self.fail(f"{value!r} is too large: at most 1000000TB", param, ctx)
        return round(size)


class Expression(click.ParamType["Filter"]):
    """A filter: `error and driver:psycopg`. The value is a Filter. A mistake raises a FilterError
    that points at the place."""

    name = "filter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Filter:
        from pgtrace.ask import filter

        return filter.parse(value) if isinstance(value, str) else value


class Dsn(click.ParamType[str]):
    """A connection string for libpq. The value has keywords and includes secrets. It is checked
    here, because libpq's message about an invalid one may repeat a secret.
    """

    name = "dsn"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from pgtrace import conninfo

        address = conninfo.read(value)
        if address.hosts:
            self.fail("expected a URL, postgresql://host/db, or keywords: host=h dbname=db, service=name", param, ctx)
        return conninfo.keywords(address.everything)


def explaining(command: F) -> F:
    """Add `--explain-dsn`, where statements may be explained. explained_on() reads the value from
    the context.
    """
    return kept(
        "--explain-dsn",
        metavar="DSN",
        type=Dsn(),
        help="Let the key `E` EXPLAIN recorded statements over a separate read-only connection: postgresql://host/db, or service=name.",
    )(command)


class Explaining(TypedDict):
    """The arguments of a Source for `--explain-dsn`."""

    explain_dsn: str
    throwaway: bool


def explained_on(throwaway_url: str = "") -> Explaining:
    """Where the current command may explain statements: at `--explain-dsn`, otherwise on the
    throw-away server if there is one.
    """
    dsn: str = in_context("explain_dsn", None) or ""
    return {"explain_dsn": dsn or throwaway_url, "throwaway": not dsn and bool(throwaway_url)}


def files(command: F) -> F:
    """Add FILE: one or several captures, packet captures or `-`; or `--last`, the latest run."""
    latest = kept(
        "--last",
        is_flag=True,
        is_eager=True,
        help="Read the latest `pgtrace run` instead of a FILE.",
    )
    argument = click.argument("files", nargs=-1, type=FILE, metavar="FILE...", callback=_files_or_last)
    return argument(latest(importing(command)))


def joining(command: F) -> F:
    """Add `--no-join`, which keeps the two sides of a pooler apart. reading.py finds the value in
    the context.
    """
    return kept(
        "--no-join",
        is_flag=True,
        help="Do not join the two sides of a pooler: count both.",
    )(command)


def _files_or_last(ctx: click.Context, parameter: click.Parameter, value: tuple[Path, ...]) -> tuple[Path, ...]:
    if not in_context("last", False):
        if not value and not ctx.resilient_parsing:
            raise click.MissingParameter(ctx=ctx, param=parameter)
        return value
    if value:
        raise click.UsageError("--last takes no FILE: it reads the latest run")
    from pgtrace import last

    return (last.capture(),)


def importing(command: F) -> F:
    """Add options on how to read a FILE that is not a capture. imports.py finds the values in the
    context, so no command has to pass them on.
    """
    keep = kept(
        "--keep",
        type=Size(),
        default="1GiB",
        show_default=True,
        metavar="SIZE",
        help="For a pcap or a stream: how much to keep on disk while it is read.",
    )
    return port(keylog(keep(command)))


def port(command: F) -> F:
    """Add `--port`, which identifies the server's side of a connection whose beginning was not
    seen.
    """
    return kept(
        "--port",
        multiple=True,
        type=click.IntRange(1, 65535),
        default=[DEFAULT_PORT],
        show_default=True,
        metavar="PORT",
        help="For a pcap: the port of a server, to include connections that began before the capture. May be repeated.",
    )(command)


def keylog(command: F) -> F:
    """Add `--keylog`, the secrets of TLS sessions in packets."""
    return kept(
        "--keylog",
        type=FILE,
        metavar="FILE",
        help="For a pcap: decrypt TLS with the secrets in FILE, in the format of SSLKEYLOGFILE.",
    )(command)


def in_context(name: str, default: Any) -> Any:
    """The value of an option that importing() put into the current command's context."""
    context = click.get_current_context(silent=True)
    return default if context is None else context.meta.get(f"pgtrace.{name}", default)


def kept(*names: str, **settings: Any) -> Callable[[F], F]:
    """An option whose value in_context() returns. The command itself does not get it."""
    return click.option(*names, expose_value=False, callback=keep_in_context, **settings)


def keep_in_context(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The callback of an option whose value in_context() returns."""
    ctx.meta[f"pgtrace.{param.name}"] = value
    return value


def filtered(command: F) -> F:
    """Add `--filter`, which selects round trips."""
    return click.option(
        "--filter", "chosen", metavar="EXPR", type=Expression(), help="Only matching round trips: 'error and driver:psycopg', 'ms > 10'."
    )(command)


def as_json(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


WHAT_WAS_READ = "Also print what was read."
"""The help of `-v` for commands in which it adds nothing else."""


def words(more: str, less: str = "Print only data and errors.") -> Callable[[F], F]:
    """Add `-q` and `-v`: `more` is the help of `-v`, `less` that of `-q`."""

    def add(command: F) -> F:
        command = click.option("-v", "--verbose", is_flag=True, help=more)(command)
        return click.option("-q", "--quiet", is_flag=True, is_eager=True, help=less)(command)

    return add
