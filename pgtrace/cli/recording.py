"""Shared by `listen`, `run` and `demo`: starts a recorder from options, and follows its capture.

If the upstream leg proves who pgtrace is (over a Unix socket, or with a client certificate), the
server treats everyone who connects to pgtrace as this user. So by default the recorder then listens
on a socket in a private directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pgtrace import behind
from pgtrace.address import Leg, Listen, Upstream, leg_letter, parse_listen, parse_upstream
from pgtrace.cli import output, recorder_options
from pgtrace.conninfo import Address
from pgtrace.errors import UpstreamError
from pgtrace.exposure import about, named_identity
from pgtrace.probe import probe
from pgtrace.recorder import Recorder, keeps_channel_binding

FEW_CONNECTIONS = 100
"""A server's default max_connections."""


@contextmanager
def upstream_for(
    asked: Address | str | None, found: Upstream | None = None, *, quiet: bool = False
) -> Iterator[tuple[Upstream, dict[str, str]]]:
    """The upstream, and the environment variables that a program needs to use it. `embedded` starts
    a throw-away PostgreSQL. Raises AddressError, MissingExtra.
    """
    if not isinstance(asked, str):
        target = found or parse_upstream(asked, os.environ)
        if asked is not None and asked.cut and not quiet:
            verb = "is" if len(asked.cut) == 1 else "are"
            output.print_stderr(f"pgtrace: the {' and the '.join(asked.cut)} in --upstream {verb} not used: the driver logs in itself")
        yield target, {}
        return
    from pgtrace.demo.embedded import EmbeddedServer

    if not quiet:
        output.print_stderr("pgtrace: starting PostgreSQL")
    with EmbeddedServer() as server:
        yield parse_upstream(f"{server.host}:{server.port}", {}), server.environment() | {"DATABASE_URL": server.url()}


def reach(target: Upstream, asked: Address | str | None) -> None:
    """Check that the upstream answers before a program is started. Raises UpstreamError, which says
    how to name an upstream if none was named.
    """
    try:
        probe(target)
    except UpstreamError as error:
        if asked is not None:
            raise
        ways = "--upstream says where PostgreSQL is, and `--upstream embedded` starts a throw-away one"
        raise UpstreamError(error.upstream, f"{error.reason}; {ways}") from None


def place(asked: str | Listen | None, upstream: Upstream, default: str, *, allow_others: bool) -> Listen | None:
    """Where to listen: as asked, otherwise the default. None means a private socket, because anyone
    who connects would act as you.
    """
    if asked is None and named_identity(upstream) and not allow_others:
        return None
    return asked if isinstance(asked, Listen) else parse_listen(asked if asked is not None else default)


@contextmanager
def further_legs(asked: Iterable[recorder_options.LegAsked], *, quiet: bool = False) -> Iterator[tuple[list[Leg], list[dict[str, str]]]]:
    """The legs after the first, each with the environment variables for its throw-away server, if
    it leads to one. Raises AddressError, MissingExtra.
    """
    with ExitStack() as stack:
        legs, environments = [], []
        for one in asked:
            target, environment = stack.enter_context(upstream_for(one.upstream, quiet=quiet))
            legs.append(Leg(one.listen, target))
            environments.append(environment)
        yield legs, environments


def about_throwaways(recorder: Recorder, environments: Iterable[dict[str, str]]) -> list[str]:
    """How to log in to a throw-away server through a leg after the first, in the syntax of libpq
    and PgBouncer's ini.
    """
    lines = []
    for leg, environment in enumerate(environments, 1):
        if environment:
            host, port = recorder.reached_at(leg)
            user, password, database = (environment[name] for name in ("PGUSER", "PGPASSWORD", "PGDATABASE"))
            place = f"host={host} port={port} dbname={database} user={user} password={password}"
            lines.append(f"a pooler reaches the throw-away server through leg {leg_letter(leg)} with: {place}")
    return lines


def warn_if_unreachable(upstream: Upstream) -> None:
    """Print a line on stderr if nothing answers yet. The server may start later."""
    try:
        probe(upstream)
    except UpstreamError as error:
        output.print_stderr(f"pgtrace: {error}; listening anyway, drivers get this error until it answers")


def connect_hints(recorder: Recorder) -> list[str]:
    """A line for each leg: where pgtrace listens and where it connects."""
    legs = recorder.legs
    names = [f" (leg {leg_letter(index)})" if len(legs) > 1 else "" for index in range(len(legs))]
    return [
        f"pgtrace: {', '.join(addresses)} -> {leg.upstream.display}{name}"
        for addresses, leg, name in zip(recorder.addresses_of_legs, legs, names, strict=True)
    ]


def further_places(recorder: Recorder) -> list[str]:
    """The addresses of the legs after the first, to which poolers connect, not drivers."""
    return [line.removeprefix("pgtrace: ") for line in connect_hints(recorder)[1:]]


def about_others(recorder: Recorder) -> list[str]:
    """A note on users who are not served, or not with the client certificate."""
    legs = recorder.legs
    lines = [(leg, about(served, leg.upstream)) for leg, served in zip(legs, recorder.served, strict=True)]
    return [f"{leg.listen.display}: {line}" if len(legs) > 1 else line for leg, line in lines if line]


def about_tls(recorder: Recorder) -> list[str]:
    """Notes for drivers whose TLS is terminated by pgtrace, and on what will not work."""
    lines = []
    if recorder.authority is not None:
        lines.append(f"drivers that verify the certificate need sslrootcert={recorder.authority}")
    if recorder.tls.mode == "end" and any(leg.upstream.sslmode != "disable" and leg.upstream.unix is None for leg in recorder.legs):
        lines.append(
            "if the server uses TLS too, a driver with channel binding (libpq's default) fails unless the certificate is the server's own; "
            "remedies: no TLS to pgtrace (without --tls), channel_binding=disable in the driver, the server's --tls-cert and "
            "--tls-key, or --tls pass"
        )
    return lines


def about_files(recorder: Recorder) -> list[str]:
    """A note on how many connections fit, if that is fewer than a server's default."""
    if recorder.fits is None or recorder.fits >= FEW_CONNECTIONS:
        return []
    fit = "1 connection fits" if recorder.fits == 1 else f"{recorder.fits} connections fit"
    return [f"{fit} into the limit on open files (ulimit -Hn); further ones are refused with 53300"]


def about_channel_binding(recorder: Recorder) -> list[str]:
    """A note if a program's channel_binding=require was removed."""
    if recorder.upstream.channel_binding != "require" or keeps_channel_binding(recorder.tls):
        return []
    return ["channel_binding=require cannot work through pgtrace and was removed; sslmode=verify-full verifies the server instead"]


def about_passwords(recorder: Recorder) -> list[str]:
    """A note that passwords in SQL are recorded, unless literals are blanked."""
    if {"literals", "all"} & set(recorder.redact):
        return []
    return ["a password written in SQL (CREATE ROLE ... PASSWORD '...') is recorded like all SQL; --redact literals blanks it"]


def report_losses(recorder: Recorder, *, verbose: bool = False) -> bool:
    """Report losses on stderr; with `verbose`, also all messages of the recorder. Returns whether
    everything was recorded.
    """
    if verbose and recorder.log:
        output.print_stderr(*recorder.log.rstrip().split("\n"))
    if not recorder.alive:
        return False
    lost = losses(recorder)
    if lost:
        output.print_stderr(f"pgtrace: {lost}")
    return not lost


def losses(recorder: Recorder) -> str:
    """What the recorder could not record, in words; empty if it recorded everything."""
    return behind.losses(recorder.stats(), recorder.when_behind)


def report_capture(write: Path | None, quiet: bool) -> None:
    """Print a line on stderr that says where the capture is."""
    if write is not None and not quiet:
        output.print_stderr(f"pgtrace: capture written to {write}; look at it with: pgtrace open {write}")
