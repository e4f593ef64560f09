"""Helper processes that end when this process ends, for whatever reason.

    with Kept([pgbouncer, "-q", ini], orders=(signal.SIGTERM,)) as helper:
        helper.process.poll()

`keeper.py` runs the command and watches a pipe to this process. The kernel closes the pipe however
a process ends, `kill -9` included. A process that ends by itself needs no keeper: one that reads
this process's pipe until it ends, such as the recorder, a pager, or a visitor's screen.

A helper may be started as another user, and may own a directory that is removed with it. Its
command is visible to other users anyway, so it must not contain secrets.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

CANNOT_START: Final = 127
"""The exit code if there was no command to run; the reason is on its stderr."""


class Kept:
    """A helper process and its keeper; a context manager that ends both."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        orders: Sequence[signal.Signals] = (signal.SIGTERM,),
        removes: Path | None = None,
        locks: Sequence[int] = (),
        directory: Path | None = None,
        user: int | None = None,
        group: int | None = None,
        **options: Any,
    ) -> None:
        """Start the helper. To end it, the signals of `orders` are sent one after the other as long
        as it runs, and SIGKILL at last. When this process has let go of it, `removes` is removed;
        `locks` mark that directory as owned (`temporary.py`), and the keeper holds them too.

        It runs in `directory`, as `user` and `group`. `options` are those of Popen, such as its
        standard streams and environment.
        """
        end, self._held = os.pipe()
        settings: dict[str, Any] = {
            "command": list(command),
            "directory": os.fspath(directory) if directory is not None else None,
            "user": {"user": user, "group": group, "extra_groups": []} if user is not None else {},
            "orders": [int(order) for order in orders],
            "removes": os.fspath(removes) if removes is not None else None,
        }
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), str(end), json.dumps(settings)],
                start_new_session=True,
                pass_fds=(end, *locks),
                **options,
            )
            """The keeper: its streams are the helper's, and it ends as the helper ends."""
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(end)

    def release(self) -> None:
        """Make the keeper end the helper, without waiting. You may call this twice."""
        held, self._held = self._held, -1
        if held >= 0:
            with contextlib.suppress(BrokenPipeError):  # it has already ended
                # a process that was forked from this one may still have the pipe open
                os.write(held, b".")
            os.close(held)

    def stop(self) -> int:
        """End the helper, and wait until it and its directory are gone. Returns the exit code."""
        self.release()
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
