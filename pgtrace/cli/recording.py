"""What `listen`, `run` and `demo` have in common: a recorder started from options, and a trace that follows its capture.

Where the upstream leg proves who pgtrace is (a Unix socket, a client certificate), the server takes whoever connects for this user: without a LISTEN the
recorder then listens on a socket in a private directory of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgtrace import behind
from pgtrace.address import Listen, Upstream, parse_listen, parse_upstream
from pgtrace.cli import output
from pgtrace.conninfo import Address
from pgtrace.errors import UpstreamError
from pgtrace.exposure import about, named_identity
from pgtrace.probe import probe
from pgtrace.recorder import Recorder, keeps_channel_binding

FEW_CONNECTIONS = 100
"""A server's max_connections at its default."""


@contextmanager
def upstream_for(
    asked: Address | str | None, found: Upstream | None = None, *, quiet: bool = False
) -> Iterator[tuple[Upstream, dict[str, str]]]:
    """The upstream, and the environment a program needs besides to use it; `embedded` starts a throw-away PostgreSQL. Raises AddressError, MissingExtra."""
    if not isinstance(asked, str):
        target = found or parse_upstream(asked, os.environ)
        if asked is not None and asked.cut and not quiet:
            verb = "is" if len(asked.cut) == 1 else "are"
            output.tell(f"pgtrace: the {' and the '.join(asked.cut)} in --upstream {verb} not used: the driver logs in itself")
        yield target, {}
        return
    from pgtrace.demo.embedded import EmbeddedServer

    if not quiet:
        output.tell("pgtrace: starting PostgreSQL")
    with EmbeddedServer() as server:
        yield parse_upstream(f"{server.host}:{server.port}", {}), server.environment() | {"DATABASE_URL": server.url()}


def place(text: str | None, upstream: Upstream, default: str, *, allow_others: bool) -> Listen | None:
    """Where to listen: what was asked for, else the default; None, for a private socket of the recorder's own, before an identity that would be lent."""
    if text is None and named_identity(upstream) and not allow_others:
        return None
    return parse_listen(text if text is not None else default)


def warn_if_unreachable(upstream: Upstream) -> None:
    """One line on stderr where nothing answers yet: the server may come later."""
    try:
        probe(upstream)
    except UpstreamError as error:
        output.tell(f"pgtrace: {error}; listening all the same, drivers are told so until it answers")


def connect_hint(recorder: Recorder, upstream: Upstream) -> str:
    """One line: where pgtrace listens and where that leads."""
    return f"pgtrace: {', '.join(recorder.addresses)} -> {upstream.display}"


def about_others(recorder: Recorder) -> list[str]:
    """Who is not served, or not with the client certificate, where that is not everybody who can connect."""
    return [line for line in [about(recorder.served, recorder.upstream)] if line]


def about_tls(recorder: Recorder, upstream: Upstream) -> list[str]:
    """What drivers have to know where their TLS ends here, and what cannot work, before it does not."""
    lines = []
    if recorder.authority is not None:
        lines.append(f"drivers that verify the certificate trust it with sslrootcert={recorder.authority}")
    if recorder.tls.mode == "end" and upstream.sslmode != "disable" and upstream.unix is None:
        lines.append(
            "if the server does TLS too, a driver that uses channel binding (libpq at its default) fails unless the certificate is the server's own; "
            "ways out: a plain driver leg (without --tls), channel_binding=disable in the driver, --tls-cert and --tls-key of the server, --tls pass"
        )
    return lines


def about_files(recorder: Recorder) -> list[str]:
    """How many connections fit, where that is fewer than a server takes at its default."""
    if recorder.fits is None or recorder.fits >= FEW_CONNECTIONS:
        return []
    fit = "1 connection fits" if recorder.fits == 1 else f"{recorder.fits} connections fit"
    return [f"{fit} into the files that may be open (ulimit -Hn), and more are refused with 53300; raise the limit for more"]


def about_channel_binding(recorder: Recorder) -> list[str]:
    """That a program's channel_binding=require is taken away, where it is."""
    if recorder.upstream.channel_binding != "require" or keeps_channel_binding(recorder.tls):
        return []
    return ["channel_binding=require cannot reach the server from the program; sslmode=verify-full proves who it is instead"]


def about_passwords(recorder: Recorder) -> list[str]:
    """That a password written in SQL is recorded like all SQL, where it is."""
    if {"literals", "all"} & set(recorder.redact):
        return []
    return ["a password written in SQL (CREATE ROLE ... PASSWORD '...') is recorded like all SQL; --redact literals blanks it"]


def say_what_was_lost(recorder: Recorder, *, verbose: bool = False) -> bool:
    """One line on stderr where the recorder could not record everything, and whether it could; with `verbose` all it had to say."""
    if verbose and recorder.log:
        output.tell(*recorder.log.rstrip().split("\n"))
    if not recorder.alive:
        return False
    lost = behind.what_was_lost(recorder.stats(), recorder.when_behind)
    if lost:
        output.tell(f"pgtrace: {lost}")
    return not lost


def written(write: Path | None, quiet: bool) -> None:
    """One line on stderr: the capture that is there now."""
    if write is not None and not quiet:
        output.tell(f"pgtrace: capture written to {write}; look at it with: pgtrace open {write}")
