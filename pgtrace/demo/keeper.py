"""The keeper: a small process that owns a throw-away PostgreSQL and briefly outlives the process
that asked for it.

If a program that started a server is killed, the server runs on for ever and its data stays. So
`embedded.py` starts neither initdb nor postgres. It starts this module
(`python -m pgtrace.demo.keeper`) in a session of its own, out of reach of the terminal's Ctrl-C,
and talks to it through two pipes.

Rules:

- The first line on stdin is the configuration, every further one a request. Each request gets one
  JSON line on stdout as its answer.
- `run` runs a command to its end. `serve` starts the server and answers once it accepts connections
  or has ended.
- The end of stdin means leave: the asking process has closed it or is gone. Then the server is
  stopped and the directory removed, in this order, whatever was going on.
- It imports nothing from the rest of the package, so it starts in about 30 ms.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 5.0


class Keeper:
    """Runs commands as the server's user and keeps at most one server."""

    def __init__(self, directory: Path, user: int | None, group: int | None) -> None:
        self._directory = directory
        self._options: dict[str, Any] = {"cwd": directory, "stdin": subprocess.DEVNULL}
        if user is not None:
            self._options |= {"user": user, "group": group, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str]) -> dict[str, Any]:
        """Run one command to its end. The answer has its exit code and all that it printed."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **self._options)
        return {"code": done.returncode, "output": done.stdout.decode(errors="replace")}

    def serve(self, command: list[str], data: str) -> dict[str, Any]:
        """Start the server and wait until its pid file says that it is ready, as pg_ctl does.
        `code` is None when it is."""
        log = self._directory / "log"
        with log.open("wb") as output:
            server = self._server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **self._options)
        deadline = time.monotonic() + READY_WITHIN_S
        while server.poll() is None and not _is_ready(Path(data, "postmaster.pid")):
            if time.monotonic() > deadline:
                self.stop()
                break
            time.sleep(0.01)
        return {"code": server.poll(), "pid": server.pid, "output": log.read_text(errors="replace")}

    def stop(self) -> None:
        """Stop the server: fast first (clients get an error), then at once."""
        if self._server is None:
            return
        for order in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self._server.poll() is None:
                self._server.send_signal(order)
                try:
                    self._server.wait(STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    continue
            break

    def remove(self) -> None:
        """Remove everything that was created."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _is_ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _leave(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


def main() -> None:
    """Serve requests until stdin ends."""
    for order in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(order, _leave)
    configuration = json.loads(sys.stdin.readline())
    keeper = Keeper(Path(configuration["directory"]), configuration["user"], configuration["group"])
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = keeper.serve(request["serve"], request["data"]) if "serve" in request else keeper.run(request["run"])
            except (OSError, subprocess.SubprocessError) as error:
                answer = {"code": -1, "output": str(error)}
            print(json.dumps(answer), flush=True)
    except BrokenPipeError:
        pass
    finally:
        keeper.stop()
        keeper.remove()


if __name__ == "__main__":
    main()
