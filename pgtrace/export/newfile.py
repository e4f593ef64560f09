"""A new output file: private, never replaces an existing one, and removed if not finished."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from pgtrace.errors import CaptureError, OutputExists


class NewFile:
    """A new output file; a context manager that removes it unless it was finished."""

    def __init__(self, path: str) -> None:
        """Create the file. Raises OutputExists, or CaptureError if it cannot be created."""
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        except FileExistsError:
            raise OutputExists(path) from None
        except OSError as error:
            raise CaptureError(path, f"cannot be created: {(error.strerror or str(error)).lower()}") from None

    def write(self, content: str | bytes) -> None:
        """Append to the file, text as UTF-8. Raises CaptureError if it cannot be written."""
        try:
            self._file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
        except OSError as failure:
            if kind is None:
                os.unlink(self.path)
                raise self._failed(failure) from None
        if kind is not None:
            os.unlink(self.path)

    def _failed(self, error: OSError) -> CaptureError:
        return CaptureError(self.path, f"cannot be written: {(error.strerror or str(error)).lower()}")
