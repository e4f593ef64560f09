"""The keeper: a small process between pgtrace and a helper, which it ends when pgtrace ends.

If a program that started a server is killed, the server runs on for ever and its data stays. So
pgtrace starts no process directly that could outlive it. `kept.py` starts this file (`python -I -S
keeper.py DESCRIPTOR JSON`), which runs the command as its only child.

Rules:

- DESCRIPTOR is one end of a pipe whose other end only pgtrace has. The keeper reads a byte when
  pgtrace lets go, and the end of the pipe when pgtrace is gone for whatever reason. Then it ends
  the child with the signals of `orders`, and afterwards removes the directory `removes`.
- The child has the keeper's standard streams, and the keeper ends as the child ended: with its exit
  code, or 128+N after signal N. In this case it removes no directory: pgtrace is still there.
- The keeper passes on the signals that it gets. `kept.py` starts it in a session of its own, out of
  reach of the terminal's Ctrl-C.
- It imports nothing from the rest of the package, so it starts in about 30 ms.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

ENDS_WITHIN_S = 5.0
"""How long a child may take to end after each signal."""
CANNOT_START = 127
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def keep(pgtrace: int, settings: dict[str, Any]) -> int:
    """Run the command until it ends or pgtrace lets go of it. Returns its exit code."""
    noticed, notices = os.pipe()
    for descriptor in (noticed, notices):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(notices)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for passed_on in PASSED_ON:
        signal.signal(passed_on, pass_on)
    try:
        child = subprocess.Popen(settings["command"], cwd=settings["directory"], **settings["user"])
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{settings['command'][0]}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return CANNOT_START
    for number in early:
        child.send_signal(number)
    while child.poll() is None:
        if pgtrace in select.select([pgtrace, noticed], [], [])[0]:
            end(child, settings["orders"])
        else:
            os.read(noticed, 4096)
    if settings["removes"] is not None and select.select([pgtrace], [], [], 0)[0]:
        shutil.rmtree(settings["removes"], ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def end(child: subprocess.Popen[bytes], orders: list[int]) -> None:
    """End the child: with the gentlest signal first, and with SIGKILL at last."""
    for order in (*orders, signal.SIGKILL):
        if child.poll() is None:
            child.send_signal(order)
            try:
                child.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue
        break


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), json.loads(sys.argv[2])))
