"""Programs that pgtrace runs: starts them, waits for them, and passes on their signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Final

from pgtrace import masking
from pgtrace.errors import ProgramError

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)


def check_exists(program: str) -> None:
    """Check that the program exists, before a server is started or a capture created. Raises
    ProgramError.
    """
    if shutil.which(program) is not None:
        return
    shown = masking.argument(program)
    if os.path.exists(program):
        raise ProgramError(shown, "it is not executable")
    sets_variable = program.partition("=")[0].isidentifier() and "=" in program
    remedy = f"; to set a variable for one: env {shown} PROGRAM" if sets_variable else ""
    raise ProgramError(shown, f"there is no such program{remedy}")


class Children:
    """Copies of one program, running at once."""

    def __init__(
        self, arguments: Sequence[str], variables: Mapping[str, str], copies: int = 1, output: IO[bytes] | int | None = None
    ) -> None:
        """Start them. Raises ProgramError."""
        self.interrupted = False
        """Whether Ctrl-C was pressed while they ran."""
        self._running: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(copies):
                self._running.append(subprocess.Popen(arguments, env=variables, stdout=output))
        except OSError as error:
            for one in self._running:
                one.terminate()
            raise ProgramError(masking.argument(arguments[0]), os.strerror(error.errno or 0)) from None

    def wait(self) -> int:
        """Wait until all have ended. Returns the first exit code that is not 0; 128+N for a
        signal."""
        with self._signals():
            codes = [one.wait() for one in self._running]
        code = next((code for code in codes if code), 0)
        return 128 - code if code < 0 else code

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Within this context, pass on signals that are sent to pgtrace alone. Ctrl-C reaches the
        programs anyway, because they share our terminal.
        """
        before = {signal.SIGINT: signal.signal(signal.SIGINT, self._note)}
        for number in _PASSED_ON:
            before[number] = signal.signal(number, self._pass_on)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for one in self._running:
            one.send_signal(number)
