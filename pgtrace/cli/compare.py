"""`pgtrace compare`: variants of a program side by side, run in turns or read from captures."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from pgtrace import behind, masking
from pgtrace.cli import options, output, recorder_options
from pgtrace.errors import OutputExists
from pgtrace.trace.noted_marks import mark_counters

if TYPE_CHECKING:
    from pgtrace.cli.turns import Done, Program, Turns
    from pgtrace.compare.side_by_side import SideBySide
    from pgtrace.compare.variants import Variant
    from pgtrace.conninfo import Address

_FORMS: Final = (".md", ".html", ".json")
_REPEAT: Final = 3
_NAMED: Final = 5
"""The most marks of a capture that are named."""
_OF_CAPTURES: Final = frozenset({"what", "unit", "out", "as_json", "quiet", "verbose"})
"""The parameters that also apply to existing captures; the others are for programs."""
_NUMBER: Final = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+(e[0-9]+)?", re.ASCII)


class _Distances(click.ParamType[tuple[int, ...]]):
    """`0ms,1ms,10ms`. The value is in ns, in rising order."""

    name = "distances"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        one = recorder_options.Duration()
        return tuple(sorted({one.convert(part.strip(), param, ctx) for part in value.split(",")}))


class _Units(click.ParamType["str | int"]):
    """The number of units of work in a turn, or the name of the mark that each unit has."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            if not value.isdecimal() or not 0 < int(value) < 10**12:
                self.fail(f"{value} is not a number of units", param, ctx)
            return int(value)
        return value  # type: ignore[no-any-return]


@click.command(
    "compare", epilog="Example: pgtrace compare --upstream embedded 'asyncpg=python work.py asyncpg' 'psycopg=python work.py psycopg'"
)
@click.argument("what", nargs=-1, required=True, metavar="'LABEL=CMD'...|FILE...")
@recorder_options.upstream
@click.option(
    "--rtt",
    "distances",
    metavar="DURATION,...",
    type=_Distances(),
    default="0ms",
    show_default=True,
    help="Network distances to run at: 0ms,1ms,10ms.",
)
@click.option(
    "--repeat",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=_REPEAT,
    show_default=True,
    help="Turns of each variant at each distance.",
)
@click.option(
    "--concurrency", metavar="C", type=click.IntRange(1, 1000), default=1, show_default=True, help="Copies of CMD that run at once."
)
@click.option(
    "--units",
    "unit",
    metavar="N|MARK",
    type=_Units(),
    help="Units of work in a turn, or the mark of each. Default: the mark that all captures share.",
)
@click.option(
    "--behind",
    "behind_ini",
    metavar="PGBOUNCER.ini",
    type=options.FILE,
    help="Run a PgBouncer with this ini in between; its databases point to the upstream, and both sides are recorded.",
)
@click.option("-w", "directory", metavar="DIR", type=options.FILE, help="Keep the captures in this directory.")
@click.option("-o", "out", metavar="FILE", type=options.FILE, help="Write the comparison to this new file: .md, .html or .json.")
@recorder_options.env_urls
@recorder_options.when_behind(behind.WAIT)
@recorder_options.turns
@options.as_json
@options.words("Also print what the programs print, on stderr.")
@click.pass_context
def command(
    ctx: click.Context,
    what: tuple[str, ...],
    upstream: Address | str | None,
    distances: tuple[int, ...],
    repeat: int,
    concurrency: int,
    unit: str | int | None,
    behind_ini: Path | None,
    directory: Path | None,
    out: Path | None,
    env_urls: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compare variants: drivers, or settings, that do the same work.

    Each LABEL=CMD runs several times, taking turns with the others, through a recorder and once
    directly. An argument that is a file is a capture; captures with the same label are turns of one
    variant.

    The exit code is 1 if a program failed or a capture is incomplete.
    """
    if out is not None and out.suffix not in _FORMS:
        raise click.UsageError(f"-o {os.fspath(out)!r}: the name ends in {', '.join(_FORMS[:-1])} or {_FORMS[-1]}")
    files = [text for text in what if os.path.exists(text)]
    if behind_ini is not None and not behind_ini.is_file():
        raise click.UsageError(f"--behind {os.fspath(behind_ini)!r}: there is no such file")
    if behind_ini is not None and len(distances) > 1:
        raise click.UsageError("--behind allows a single --rtt, which then applies to both sides of the pooler")
    if files and len(files) < len(what):
        other = next(text for text in what if text not in files)
        why = "captures and programs cannot be mixed" if "=" in other else "no such file"
        raise click.UsageError(f"{masking.argument(other)!r}: {why}")
    if files:
        for option in ctx.command.params:
            if option.name not in _OF_CAPTURES and ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{option.opts[0]} is for programs, not for captures")
    with _written(out) as write:
        if files:
            found = _of_files(files, unit, quiet=quiet)
        else:
            found = _of_programs(
                what,
                upstream,
                distances,
                repeat,
                concurrency,
                unit,
                behind_ini,
                directory,
                ("DATABASE_URL", *env_urls),
                quiet=quiet,
                verbose=verbose,
            )
        write(found)
        if as_json:
            from pgtrace.report.comparison import forms
            from pgtrace.report.encoding import as_json as encoded

            output.write([encoded(forms.as_dict(found), indent=2)])
        elif out is None:
            from pgtrace.report.comparison import forms

            output.write(forms.as_text(found))
    if out is not None and not quiet:
        output.print_stderr(f"pgtrace: comparison written to {out}")
    if directory is not None and not quiet and not files:
        output.print_stderr(f"pgtrace: captures written to {directory}; compare them again with: pgtrace compare {directory}/*.pgtrace")
    ctx.exit(0 if found.is_complete else 1)


@contextmanager
def _written(out: Path | None) -> Iterator[Any]:
    """Create the file of -o before anything runs. Yields the function that writes to it."""
    if out is None:
        yield lambda found: None
        return

    def write(found: SideBySide) -> None:
        from pgtrace.report.comparison import forms, web
        from pgtrace.report.encoding import as_json as encoded

        if out.suffix == ".html":
            file.write(web.as_html(found))
        elif out.suffix == ".json":
            file.write(encoded(forms.as_dict(found), indent=2) + "\n")
        else:
            file.write("\n".join(forms.as_markdown(found)) + "\n")

    with output.Output(os.fspath(out), binary=False) as file:
        yield write


# Existing captures.


def _of_files(files: Sequence[str], unit: str | int | None, *, quiet: bool) -> SideBySide:
    from pgtrace.cli.reading import read
    from pgtrace.compare.turns import named_apart
    from pgtrace.compare.variants import Variant
    from pgtrace.trace.trace import Trace

    labels: dict[str, str] = {}
    for file in files:
        trace: Trace = read([Path(file)], timeline=False, quiet=quiet)
        labels[file] = next((label for label, _, _ in trace.label_counters()), "")
        trace.close()
    unlabelled = [file for file, label in labels.items() if not label]
    labels |= named_apart(unlabelled, taken=set(labels.values()))
    variants: dict[str, Variant] = {}
    paths: list[tuple[str, str]] = []
    for file, label in labels.items():
        paths.append((label, file))
        variants.setdefault(label, Variant(label))
    return _measured(list(variants.values()), paths, unit, quiet=quiet)


def _measured(
    variants: list[Variant], paths: Sequence[tuple[str, str]], unit: str | int | None, failed: Collection[str] = (), *, quiet: bool
) -> SideBySide:
    """Read each capture of (label, path) as a turn, then find the differences between variants. The
    programs of the captures `failed` ended with an error: such a turn is shown only if its variant
    has no other, does not determine the unit, and is not compared.
    """
    from pgtrace.cli.reading import is_whole, read, read_as, read_joined
    from pgtrace.compare.behaviour import Behaviour
    from pgtrace.compare.side_by_side import SideBySide, differences
    from pgtrace.compare.turns import measure, shared

    whole = {label for label, path in paths if path not in failed}
    paths = [(label, path) for label, path in paths if path not in failed or label not in whole]
    by_label = {variant.label: variant for variant in variants}
    common: list[str] = []
    if unit is None:
        marks: list[set[str]] = []
        for path in dict(paths).values():
            if path in failed:
                continue
            trace = read([Path(path)], quiet=quiet)
            marks.append(set(mark_counters(trace)))
            trace.close()
        common = shared(marks)
        unit = common[0] if len(common) == 1 else 1
    found = SideBySide([], unit, marks=common if unit == 1 else [])
    servers_side: dict[str, frozenset[int]] = {}
    without: dict[str, list[set[str]]] = {}
    """Label -> the marks of each turn that lacks the wanted mark."""
    for label, path in paths:
        trace, joins = read_joined([Path(path)], quiet=True)
        servers_side[path] = frozenset(trace.apart)
        turn = measure(trace, label, unit, joins, draws=not by_label[label].turns)
        turn.complete = is_whole(trace)
        if isinstance(unit, str) and unit not in (names := set(mark_counters(trace))):
            turn.complete = False
            if path not in failed:  # its failure was reported already
                without.setdefault(label, []).append(names)
        by_label[label].turns.append(turn)
        trace.close()
    for label, marks in without.items():
        _report_missing(str(unit), label, marks, len(by_label[label].turns))
    found.variants = [variant for variant in variants if variant.turns]
    behaviours = {}
    for variant in found.variants:
        path = variant.nearest[0].path
        if path in failed:
            continue
        if servers_side[path]:
            behaviours[variant.label] = Behaviour([path], apart=servers_side[path])
            while behaviours[variant.label].update():
                pass
        else:
            behaviours[variant.label] = read_as(Behaviour, [Path(path)], quiet=quiet)
    if behaviours:
        differences(found, behaviours)
    for behaviour in behaviours.values():
        behaviour.close()
    return found


def _report_missing(unit: str, label: str, marks: Sequence[set[str]], turns: int) -> None:
    """Report once that turns of a variant lack the mark; `marks` are those that they have."""
    others = sorted(set().union(*marks))
    some = f" in {len(marks)} of {turns} turns" if len(marks) < turns else ""
    listed = f"; it has {', '.join(map(repr, others[:_NAMED]))}" if others else ""
    output.print_stderr(f"pgtrace: {label}: no mark is called {unit!r}{some}{listed}")


# Programs.


def _of_programs(
    what: Sequence[str],
    upstream: Address | str | None,
    distances: tuple[int, ...],
    repeat: int,
    concurrency: int,
    unit: str | int | None,
    behind_ini: Path | None,
    directory: Path | None,
    names: tuple[str, ...],
    *,
    quiet: bool,
    verbose: bool,
) -> SideBySide:
    from pgtrace import environment
    from pgtrace.cli import recording, turns
    from pgtrace.compare.variants import Variant
    from pgtrace.errors import CaptureError
    from pgtrace.temporary import PrivateDirectory

    programs = [turns.Program.of(text) for text in what]
    labels = [program.label for program in programs]
    if len(set(labels)) < len(labels):
        raise click.UsageError("two variants have the same label")
    placed = turns.names(programs, distances, repeat)
    if directory is not None:
        _check_none_exist(directory, placed.values())
    found_upstream = None if isinstance(upstream, str) else environment.upstream_of(upstream, os.environ, names)
    variants = [Variant(label) for label in labels]
    with recording.upstream_for(upstream, found_upstream, quiet=quiet) as (target, extra), PrivateDirectory() as private:
        recording.reach(target, upstream)
        where = directory or Path(private)
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CaptureError(os.fspath(where), f"cannot be created: {(error.strerror or str(error)).lower()}") from None
        runner = turns.Turns(upstream, target, extra, names, concurrency, verbose, behind_ini, **recorder_options.recorded())
        try:
            done = _run(runner, programs, variants, distances, repeat, where, placed, quiet=quiet)
        except KeyboardInterrupt:
            if directory is not None and not quiet:
                output.print_stderr(f"pgtrace: interrupted; the captures of the finished turns are in {directory}")
            raise
        failed = {os.fspath(one.path) for _, one in done if one.code}
        found = _measured(variants, [(label, os.fspath(one.path)) for label, one in done], unit, failed, quiet=quiet)
        _note_turns(found, done)
        found.are_kept = directory is not None
        found.concurrency = concurrency
        if behind_ini is not None:
            found.notes.append(
                f"Behind PgBouncer with {behind_ini}: unless a table says otherwise, numbers are those of the drivers' side."
            )
        if runner.no_control:
            found.notes.append(f"{runner.no_control}.")
    return found


def _check_none_exist(directory: Path, names: Iterable[str]) -> None:
    """Check, before anything runs, that no turn's file exists. Raises OutputExists, UsageError."""
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(f"-w {os.fspath(directory)!r} is a file: name a directory")
    for name in names:
        if (directory / name).exists():
            raise OutputExists(directory / name)


def _run(
    runner: Turns,
    programs: Sequence[Program],
    variants: Sequence[Variant],
    distances: Sequence[int],
    repeat: int,
    where: Path,
    placed: dict[tuple[str, int, int], str],
    *,
    quiet: bool,
) -> list[tuple[str, Done]]:
    """Run all turns, interleaved: in each round, every variant runs once at each distance. Each
    round begins with another variant, so that no variant always follows the same one.
    """
    from pgtrace.cli.turns import report_failure
    from pgtrace.report.comparison.sections import duration

    done: list[tuple[str, Done]] = []
    for number in range(1, repeat + 1):
        first = (number - 1) % len(programs)
        order = [*range(first, len(programs)), *range(first)]
        for rtt_ns in distances:
            for program, variant in [(programs[place], variants[place]) for place in order]:
                if variant.failures:
                    continue
                if not quiet:
                    at = f" at {duration(rtt_ns)}" if len(distances) > 1 else ""
                    output.print_stderr(f"pgtrace: turn {number} of {repeat}{at}: {program.label}")
                one = runner.record(program, rtt_ns, where / placed[program.label, rtt_ns, number])
                done.append((program.label, one))
                if one.lost:
                    output.print_stderr(f"pgtrace: {program.label}: {one.lost}")
                if one.code:
                    variant.failures.append(report_failure(program, one.code, f"turn {number}"))
                    continue
                if rtt_ns == distances[0] and not runner.no_control:
                    took_ns, code = runner.direct(program)
                    if code:
                        variant.failures.append(report_failure(program, code, "the program without pgtrace"))
                        continue
                    through_ns, code = runner.through(program) if rtt_ns else (one.took_ns, 0)
                    if code:
                        variant.failures.append(report_failure(program, code, "the control run"))
                        continue
                    variant.control.direct.append(took_ns)
                    variant.control.through.append(through_ns)
    return done


def _note_turns(found: SideBySide, done: Iterable[tuple[str, Done]]) -> None:
    """Add facts that only running shows: how long a program ran, what was lost, and whether it
    connected at all.
    """
    by_path = {os.fspath(one.path): one for _, one in done}
    for variant in found.variants:
        for turn in variant.turns:
            one = by_path[turn.path]
            turn.took_ns = one.took_ns
            turn.complete = turn.complete and not one.lost
        if not variant.failures and not any(turn.connections for turn in variant.turns):
            variant.failures.append("no connection came through pgtrace")
            output.print_stderr(
                f"pgtrace: {variant.label}: no connection came through pgtrace; the program may take the server's address "
                f"from its own settings"
            )
