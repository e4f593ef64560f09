"""Options of the commands that record."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from pgtrace import behind, variant
from pgtrace.address import Listen, parse_listen
from pgtrace.certificates import DriverTls
from pgtrace.cli import output
from pgtrace.cli.options import FILE, F, Size, in_context, keep_in_context, kept
from pgtrace.durations import duration_ns, has_unit
from pgtrace.errors import CaptureError, UsageError
from pgtrace.parameters import PARAMETERS
from pgtrace.recorder import REDACTIONS, STARTUP_TIMEOUT_S, Recording

if TYPE_CHECKING:
    from pgtrace.conninfo import Address
    from pgtrace.faults import Rule

EMBEDDED = "embedded"


class Duration(click.ParamType[int]):
    """`20ms`, `0.5s`, `300us`. A bare number is taken as ms, with a note. The value is in ns."""

    name = "duration"

    def __init__(self, shortest: str = "0s") -> None:
        """`shortest` is the smallest value that makes sense."""
        self.shortest = shortest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            ns = duration_ns(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        if ns < duration_ns(self.shortest):
            unit = "" if has_unit(value) else ": a bare number is ms"
            self.fail(f"{value!r} is too short: at least {self.shortest}{unit}", param, ctx)
        if ns and not has_unit(value) and ctx is not None and not ctx.params.get("quiet"):
            output.print_stderr(f"pgtrace: {value} is taken as {value} ms; write {value}ms, or {value}s for seconds")
        return ns


class Fault(click.ParamType["Rule"]):
    """A fault rule: `close before Sync#2`. The value is a Rule. A mistake raises a FaultError that
    points at the place."""

    name = "fault"
    envvar_list_splitter = "\n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rule:
        from pgtrace.faults import parse

        return parse(value) if isinstance(value, str) else value


class Label(click.ParamType[str]):
    """The name of a variant. Raises UsageError."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return variant.checked(value)


class _NewCapture(click.ParamType[Path]):
    """Where to write a capture. In a directory (with a trailing slash), the file is named after the
    label.
    """

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not isinstance(value, str) or not value.endswith(os.sep):
            return Path(value)
        label = in_context("label", None)
        if label is None:
            self.fail(f"{value!r} is a directory: name a file, or the variant with --label", param, ctx)
        try:
            os.makedirs(value, exist_ok=True)
        except OSError as error:
            raise CaptureError(value, f"cannot be created: {(error.strerror or str(error)).lower()}") from None
        return Path(value, variant.file_name(label))


class Server(click.ParamType["Address | str"]):
    """Where PostgreSQL is. The value is an Address without a driver's secrets, or `embedded`. The
    text itself is not passed on.
    """

    name = "address"

    def __init__(self, *, logs_in: bool = False) -> None:
        """`logs_in`: pgtrace itself needs the secrets, to log in."""
        self.logs_in = logs_in

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address | str:
        from pgtrace import conninfo

        if not isinstance(value, str) or value == EMBEDDED:
            return value  # type: ignore[no-any-return]
        address = conninfo.read(value)
        return address if self.logs_in else address.without_drivers_secrets()


class LegAsked(NamedTuple):
    """A LISTEN, or a LISTEN=UPSTREAM, as typed."""

    listen: Listen
    upstream: Address | str | None
    """The upstream; None for a LISTEN alone."""


class LegPlace(click.ParamType[LegAsked]):
    """`:6433`, or `:6433=db:5432`. The value is a LegAsked without a driver's secrets."""

    name = "leg"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LegAsked:
        if isinstance(value, LegAsked):
            return value
        listen, equals, upstream = value.partition("=")  # no LISTEN has this character
        if equals and not upstream:
            self.fail("an UPSTREAM is missing after the `=`: :6433=db:5432", param, ctx)
        if equals and not listen:
            self.fail("a LISTEN is missing before the `=`: :6433=db:5432", param, ctx)
        # a connection string of libpq is not a leg, and its text may be secret
        return LegAsked(parse_listen(value if listen in PARAMETERS else listen), Server().convert(upstream, param, ctx) if equals else None)


_KEEPING: Final = (
    kept(
        "--keep",
        "keep_bytes",
        metavar="SIZE",
        type=Size(),
        help="Keep only the newest SIZE (1GiB without -w; all with it). With -w: a directory.",
    ),
    kept(
        "--redact",
        multiple=True,
        type=click.Choice(REDACTIONS),
        help="Blank parameters, rows, or literals in SQL (including passwords) in the capture. May be repeated.",
    ),
    kept(
        "--max-row-bytes",
        metavar="N",
        type=click.IntRange(0),
        help="Keep at most N bytes of an execution's rows in the capture; the rest is only counted.",
    ),
)
"""Options on the parts of the traffic that a capture keeps."""
_TLS: Final = (
    kept(
        "--tls",
        type=click.Choice(["auto", "pass"]),
        help="Accept TLS from drivers: `auto` terminates it with a certificate made for this run, "
        "`pass` forwards it unread. Default: refuse it.",
    ),
    kept(
        "--tls-cert",
        metavar="FILE",
        type=FILE,
        help="Terminate drivers' TLS with this certificate. With the server's own certificate, channel binding works.",
    ),
    kept("--tls-key", metavar="FILE", type=FILE, help="The certificate's key."),
)
"""Options on the driver's TLS."""


def recording(command: F) -> F:
    """Add the options of every command that records."""
    options = [
        click.option(
            "-w",
            "write",
            metavar="FILE",
            type=_NewCapture(),
            callback=keep_in_context,
            help="Write the capture to this new file.",
        ),
        *_KEEPING,
        kept(
            "--startup-timeout",
            metavar="DURATION",
            type=Duration(shortest="1s"),
            default="60s",
            show_default=True,
            help="Close a connection without a complete start-up after this time, as the server does with authentication_timeout.",
        ),
        kept(
            "--rtt",
            "rtt_ns",
            metavar="DURATION",
            type=Duration(),
            default=0,
            help="Add network delay, half each way: --rtt 20ms.",
        ),
        kept(
            "--fault",
            metavar="RULE",
            type=Fault(),
            multiple=True,
            help="Delay, cut or close on purpose: 'close before Sync#2', "
            "'delay 50ms before reply to Parse', 'reset after 1MB'. May be repeated.",
        ),
        *_TLS,
    ]
    return _with(command, options)


def turns(command: F) -> F:
    """Add those that also make sense if each variant is recorded several times."""
    return _with(command, [*_KEEPING, *_TLS])


def _with(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def env_urls(command: F) -> F:
    """Add `--env-url`: variables of a program's environment that are pointed at pgtrace."""
    return click.option(
        "--env-url",
        "env_urls",
        metavar="NAME",
        multiple=True,
        help="A variable with a connection URL, in addition to DATABASE_URL. May be repeated.",
    )(command)


def label(command: F) -> F:
    """Add `--label`, the variant. It is eager because the capture's name may depend on it."""
    return kept(
        "--label",
        metavar="NAME",
        type=Label(),
        is_eager=True,
        help="Name the recording, to compare it with others. `-w DIR/` then writes DIR/NAME.pgtrace.",
    )(command)


def when_behind(default: str) -> Callable[[F], F]:
    """Add `--when-behind`: what to do when recording cannot keep up."""
    return kept(
        "--when-behind",
        type=click.Choice(behind.WORDS),
        default=default,
        show_default=True,
        help="If the disk is too slow: `drop` data that does not fit (a counted gap), or make the traffic `wait`.",
    )


def driver_tls() -> DriverTls:
    """The current command's `--tls`, `--tls-cert` and `--tls-key`. Raises click.UsageError if they
    do not go together."""
    mode, certificate, key = (in_context(name, None) for name in ("tls", "tls_cert", "tls_key"))
    if key and not certificate:
        raise click.UsageError("--tls-key needs --tls-cert")
    if mode and certificate:
        raise click.UsageError(f"--tls {mode} and --tls-cert cannot be combined")
    if mode == "pass":
        return DriverTls("pass")
    if mode == "auto":
        return DriverTls("end")
    return DriverTls("end", os.path.abspath(certificate), os.path.abspath(key or certificate)) if certificate else DriverTls()


def recorded() -> Recording:
    """How the current command should record. Raises click.UsageError if its options do not go
    together."""
    return {
        "write": in_context("write", None),
        "keep_bytes": in_context("keep_bytes", None),
        "rtt_ns": in_context("rtt_ns", 0),
        "allow_others": in_context("allow_others", False),
        "tls": driver_tls(),
        "faults": in_context("fault", ()),
        "when_behind": in_context("when_behind", behind.DROP),
        "redact": in_context("redact", ()),
        "max_row_bytes": in_context("max_row_bytes", None),
        "label": in_context("label", None),
        "startup_timeout_s": in_context("startup_timeout", 0) / 1e9 or STARTUP_TIMEOUT_S,
    }


def allow_others(command: F) -> F:
    """Add `--allow-others`."""
    return kept(
        "--allow-others",
        is_flag=True,
        help="Serve other users too, although the server will treat them as you.",
    )(command)


def upstream(command: F) -> F:
    """Add `--upstream`: where PostgreSQL is."""
    return click.option(
        "--upstream",
        "upstream",
        metavar="ADDR",
        type=Server(),
        help="db:5432, /var/run/postgresql, postgresql://host/?sslmode=require, or `embedded`. Default: PGHOST, PGPORT ... as in libpq.",
    )(command)
