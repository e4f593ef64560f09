"""Secrets of TLS sessions in the format of SSLKEYLOGFILE: from files, and from the Decryption
Secrets Blocks of a pcapng.

A line is a label, the ClientHello's random and a secret, in hex; every other line is skipped. A
file may be written at the same time as the packets, so if a secret is not found, the lines added to
the file since are read. The newest CONNECTIONS are kept. No secret is ever printed or recorded.

Source: draft-ietf-tls-keylogfile.
"""

from __future__ import annotations

import os
import re
from typing import Final

from pgtrace.errors import CaptureError

CONNECTIONS: Final = 100_000
_PIECE_BYTES: Final = 1024 * 1024
_LONGEST_LINE: Final = 512
_LINE: Final = re.compile(rb"([A-Z0-9_]{1,64}) ([0-9a-fA-F]{64}) ((?:[0-9a-fA-F]{2}){16,128})\r?")


class KeyLog:
    """Secrets by label and the ClientHello's random."""

    def __init__(self, path: str | None = None) -> None:
        """Read the file, if there is one. Raises CaptureError if it cannot be read."""
        self._path = path
        self._secrets: dict[bytes, dict[bytes, bytes]] = {}
        self._offset = 0
        self._rest = b""
        self._read(first=True)

    def __repr__(self) -> str:
        return f"<KeyLog of {len(self._secrets)} connections>"

    def add(self, text: bytes) -> None:
        """Add the lines of a key log."""
        for line in text.split(b"\n"):
            found = _LINE.fullmatch(line)
            if found:
                label, random, secret = found.groups()
                of_connection = self._secrets.setdefault(bytes.fromhex(random.decode()), {})
                of_connection[label] = bytes.fromhex(secret.decode())
        while len(self._secrets) > CONNECTIONS:
            del self._secrets[next(iter(self._secrets))]

    def find(self, random: bytes, label: bytes) -> bytes | None:
        """The secret of a connection with this label; None if it is not known (yet)."""
        found = self._secrets.get(random, {}).get(label)
        if found is None and self._path is not None:
            self._read()
            found = self._secrets.get(random, {}).get(label)
        return found

    def _read(self, *, first: bool = False) -> None:
        """Read the lines added to the file."""
        if self._path is None:
            return
        try:
            if not first and os.stat(self._path).st_size <= self._offset:
                return
            with open(self._path, "rb") as file:
                if file.seekable():
                    file.seek(self._offset)
                while data := file.read(_PIECE_BYTES):
                    self._offset += len(data)
                    whole, end, self._rest = (self._rest + data).rpartition(b"\n")
                    self.add(whole + end)
                    self._rest = self._rest[-_LONGEST_LINE:]
        except OSError as error:
            if first:
                raise CaptureError(self._path, f"cannot be read as a key log: {(error.strerror or str(error)).lower()}") from None
