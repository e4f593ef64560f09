"""Options that several commands share, and the words their values are written in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "": 1_000_000}
_SMALLEST_KEEP = 1 << 20
_FILE = click.Path(path_type=Path, readable=False)
"""A path as it is typed: whether it can be read is for the reader to say, with its own words and exit code."""


class Duration(click.ParamType[int]):
    """`20ms`, `0.5s`, `300us`; a bare number is ms. The value is ns."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is no duration: 20ms, 0.5s, 300us", param, ctx)
        return round(float(found[1]) * _NS[found[2]])


class Size(click.ParamType[int]):
    """`512MiB`, `1GiB`, `64k`. The value is bytes; k, M and G are powers of 1000, Ki, Mi and Gi of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is no size: 512MiB, 1GiB", param, ctx)
        size: int = round(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " "))
        if size < _SMALLEST_KEEP:
            self.fail(f"{value!r} is too little: at least 1MiB", param, ctx)
        return size


def recording(command: F) -> F:
    """The options of every command that records."""
    options = [
        click.option("-w", "write", metavar="FILE", type=_FILE, help="Write the capture there; it must not exist yet."),
        click.option(
            "--keep",
            "keep",
            metavar="SIZE",
            type=Size(),
            help="Keep only the newest SIZE (1GiB without -w; all with it). With -w: a directory.",
        ),
        click.option("--rtt", "rtt", metavar="DURATION", type=Duration(), default=0, help="Add network delay, half each way: --rtt 20ms."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def upstream(command: F) -> F:
    """Where PostgreSQL is."""
    return click.option(
        "--upstream",
        "upstream",
        metavar="ADDR",
        help="db:5432, /var/run/postgresql, postgresql://host/?sslmode=require, or `embedded`; default: PGHOST, PGPORT ... as libpq reads them.",
    )(command)


def files(command: F) -> F:
    """One or several captures."""
    return click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")(command)


def as_json(command: F) -> F:
    """Data for programs."""
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")(command)


def words(more: str) -> Callable[[F], F]:
    """Fewer words, or more: what `-v` adds."""

    def add(command: F) -> F:
        command = click.option("-v", "--verbose", is_flag=True, help=more)(command)
        return click.option("-q", "--quiet", is_flag=True, help="Only data and errors.")(command)

    return add
