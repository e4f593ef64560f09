"""`pgtrace import`: makes a capture from a pcap, lines of JSON, or a golden."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from pgtrace.cli import options, output


@click.command("import", epilog="Example: pgtrace import monday.pcap.gz -o monday.pgtrace")
@click.argument("file", type=options.FILE)
@click.option("-o", "out", metavar="OUT", required=True, type=options.FILE, help="Write the capture to this new file.")
@options.port
@options.keylog
@click.option("--keep", metavar="SIZE", type=options.Size(), help="Keep only the newest SIZE. OUT is then a directory.")
@options.words(options.WHAT_WAS_READ, "Print only losses and errors.")
def command(file: Path, out: Path, keep: int | None, quiet: bool, verbose: bool) -> None:
    """Make a capture from a pcap, JSON lines or a golden.

    FILE is a pcap or pcapng from tcpdump or Wireshark, JSON lines from `export --to jsonl`, or a
    golden, libpq's trace text. It may be compressed with gzip, bzip2, xz or zstd. `-` is standard
    input.

    The protocol's secrets are blanked, as in every capture; lines of JSON are imported as they are.
    Anything that could not be read is reported on stderr.
    """
    from pgtrace.capture.importing import Import
    from pgtrace.cli.imports import ending_on_interrupt, named_keylog, named_ports
    from pgtrace.cli.progress import turns
    from pgtrace.errors import CaptureError

    name = os.fspath(file)
    with ending_on_interrupt() as begun, Import(name, os.fspath(out), keep_bytes=keep, named=named_ports(), keylog=named_keylog()) as one:
        begun(one)
        size = one.size_bytes
        turns(one.step, lambda: one.done_bytes / size if size else None, "importing", quiet=quiet)
    if nothing := one.nothing_found():
        shutil.rmtree(out) if keep else out.unlink()
        raise CaptureError(name, nothing)
    for note in one.notes():
        output.print_stderr(f"pgtrace: {name}: {note}")
    if verbose:
        output.print_stderr(f"pgtrace: {name}: {one.done_bytes} bytes read")
    if not quiet:
        connections = f"{one.connections} connection{'' if one.connections == 1 else 's'}"
        output.print_stderr(f"pgtrace: {connections} written to {out}; look at it with: pgtrace open {out}")
