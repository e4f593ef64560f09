"""Which driver survives which session of captures/hostile: `python -m
captures.recording.conformance [DRIVER ...]`. With `--write` the table goes into
docs/conformance.md.

`pgtrace serve` has the session, and the driver's own program plays its scenario against it, in a
process of its own. What happened is told as a fact:

    works       the program ended as it did when it was recorded
    error       the driver raised an error of its own, and the program ended
    hangs       it was still there after 20 s
    dies        a signal ended it
    another     it sent something else than was recorded, and ended without an error
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from captures.recording.__main__ import HERE, plays_of
from captures.recording.hostile import DRIVERS, PLACE, SESSIONS, Hostile, text
from captures.recording.scenarios import Target, Unavailable

PAGE: Final = HERE.parent / "docs" / "conformance.md"
MARKS: Final = ("<!-- begin: conformance -->", "<!-- end -->")
PATIENCE_S: Final = 20
OURS: Final = ("SystemExit: ", "subprocess.CalledProcessError: ")
"""How an error of a program in another language ends."""


def found(driver: str, session: Hostile, path: Path, *, here: bool = False) -> tuple[str, str]:
    """What happened, in a word, and the last line of what the program said. With `here` the program
    is not in a process of its own: what has to be built for it is then there for the processes that
    come later."""
    line = [sys.executable, "-m", "pgtrace", "serve", str(path), "127.0.0.1:0", "--json", *session.options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryFile() as spoken:
        assert server.stdout is not None
        try:
            port = int(json.loads(server.stdout.readline())["listening"][0].rpartition(":")[2])
            target = Target("127.0.0.1", port, "postgres", "secret", "postgres")
            if here:
                plays_of(driver)[session.scenario](target)
                return "works", ""
            code = _played(driver, session.scenario, target, spoken.fileno())
        finally:
            server.terminate()
            said = [json.loads(one) for one in server.stdout.read().splitlines()]
        spoken.seek(0)
        last = telling(spoken.read().decode("utf-8", "replace"))
    if code is None:
        return "hangs", ""
    if code < 0:
        return "dies", f"signal {-code}"
    if code:
        return "error", last
    return ("works", "") if not said[-1]["mismatches"] else ("another", said[0]["mismatch"]["where"])


def telling(said: str) -> str:
    """The line of what a program said that names its error: the last one of a Python program, and
    of others the first that speaks of one."""
    lines = [re.sub(r"^SystemExit: .*?: (?=Exception)", "", one.strip()) for one in said.splitlines() if one.strip()]
    if lines and (thrown := re.match(r'Exception in thread "main" (?:\S+: )*(.*)', lines[0])):
        return thrown[0].removeprefix('Exception in thread "main" ')
    others = [one for one in lines if not one.startswith(OURS)]
    if others and len(others) < len(lines):
        return next((one for one in others if re.search(r"Exception|[Ee]rror:|panic|FATAL", one)), others[0])
    return lines[-1] if lines else ""


def _played(driver: str, scenario: str, target: Target, output: int) -> int | None:
    """A driver's program in a process of its own; its exit code, None if it did not end."""
    process = multiprocessing.get_context("fork").Process(target=_play, args=(driver, scenario, target, output))
    process.start()
    process.join(PATIENCE_S)
    code = process.exitcode
    if code is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return code


def _play(driver: str, scenario: str, target: Target, output: int) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        plays_of(driver)[scenario](target)
    except BaseException as error:
        print("".join(traceback.format_exception_only(error)).strip(), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main(drivers: list[str], *, write: bool) -> int:
    """Play everything and print a line for each; the exit code."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    results: dict[str, dict[str, tuple[str, str]]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for driver in drivers:
            for number, session in enumerate(SESSIONS):
                path = PLACE / f"{session.name}.jsonl"
                if not session.kept:
                    path = Path(scratch, path.name)
                    path.write_text(text(session), encoding="utf-8")
                if session.scenario not in plays_of(driver):
                    continue
                try:
                    if not number:
                        found(driver, session, path, here=True)
                    word, why = results.setdefault(session.name, {})[driver] = found(driver, session, path)
                except Unavailable as reason:
                    left_out[driver] = str(reason)
                    break
                print(f"{driver:<14} {session.name:<28} {word:<8} {why[:100]}", flush=True)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        begin, end = page.index(MARKS[0]), page.index(MARKS[1])
        PAGE.write_text(f"{page[:begin]}{MARKS[0]}\n\n{table(results, drivers, left_out)}\n{page[end:]}", encoding="utf-8")
    for driver, reason in left_out.items():
        print(f"{driver}: not played: {reason}")
    return 0


def table(results: dict[str, dict[str, tuple[str, str]]], drivers: list[str], left_out: dict[str, str]) -> str:
    """The table of the page, and the errors behind it."""
    played = [driver for driver in drivers if driver not in left_out]
    rows = [f"| session | {' | '.join(played)} |", f"|---|{'---|' * len(played)}"]
    for session in SESSIONS:
        cells = [results.get(session.name, {}).get(driver, ("·", ""))[0] for driver in played]
        rows.append(f"| `{session.name}`{' *' if session.fails else ''} | {' | '.join(cells)} |")
    notes = [
        f"| `{session.name}` | {driver} | {_said(why)} |"
        for session in SESSIONS
        for driver in played
        if (why := results.get(session.name, {}).get(driver, ("", ""))[1])
    ]
    said = ["", "| session | driver | what it said |", "|---|---|---|", *notes, ""] if notes else [""]
    return "\n".join([*rows, *said])


def _said(why: str) -> str:
    plain = re.sub(r"0x[0-9a-f]+|:\d{4,5}\b", "...", why.replace("|", " ").replace("`", "'"))
    return f"`{plain[:140]}`"


if __name__ == "__main__":
    asked = [name for name in sys.argv[1:] if not name.startswith("--")]
    sys.exit(main(asked or list(DRIVERS), write="--write" in sys.argv[1:]))
