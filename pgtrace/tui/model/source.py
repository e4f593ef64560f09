"""Where a trace comes from, in the words of the status line and the empty screen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

LOGIN: Final = ("PGUSER", "PGPASSWORD", "PGDATABASE")
"""What a driver needs in addition to the address."""


@dataclass(frozen=True, slots=True)
class Source:
    """A live recording, or files."""

    listener: str = ""
    """The address for drivers, as the user wrote it or would write it: `:6433`, `127.0.0.1:40001`,
    `unix:/dir`.
    """
    upstream: str = ""
    live: bool = False
    """Whether more may come, so that the screen follows the end."""
    files: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """All addresses of the recorder: `127.0.0.1:6433`, `unix:/dir/.s.PGSQL.6433`."""
    environment: tuple[tuple[str, str], ...] = ()
    """The variables of LOGIN that are known. A password is shown: only that of a throw-away server
    belongs here."""
    warning: str = ""
    """A line to show while nothing has come yet: the upstream that cannot be reached."""
    notes: tuple[str, ...] = ()
    """Notes to read before you point a driver here."""
    greeting: str = ""
    """A line in the footer when the screen opens."""
    temporary: bool = False
    """Whether the capture is removed at the end; `e` saves it."""
    explain_dsn: str = ""
    """The DSN for EXPLAIN."""
    throwaway: bool = False
    """Whether `explain_dsn` leads to a throw-away server, where planning a statement can do no
    harm."""
    read_only: bool = False
    """Whether the screen is read only: nothing is written, sent to a server or run."""
    joins_sides: bool = True
    """Whether the two sides of a pooler are joined."""
    unsaved: bool = False
    """Whether quitting would lose the recording, and must be confirmed."""

    @property
    def title(self) -> str:
        """`:6433 → db:5432`, or the names of the files."""
        if self.listener:
            return f"{self.listener} → {self.upstream}"
        names = [os.path.basename(file.rstrip(os.sep)) for file in self.files]
        return f"{names[0]} + {len(names) - 1} more" if len(names) > 1 else "".join(names)
