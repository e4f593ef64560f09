"""The driver's TLS: what the listener does with it, and a certificate for it if you have none.

- `refuse`: an SSLRequest is answered with `N`. The driver's leg is plain.
- `end`: pgtrace terminates TLS with a certificate and its key, and records the decrypted stream.
- `pass`: TLS is passed on to the server unchanged, and is opaque.

issue() makes a certificate for localhost and the listener's names. An authority that exists only
for this one signature signs it: the authority's key is never written, and is gone when the function
returns. So anyone who trusts the authority's certificate trusts this one leaf, and nothing that
could be made later.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgtrace.errors import MissingExtra

KEY_FILE: Final = "listener.key"
ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class DriverTls:
    """How a listener treats the driver's TLS."""

    mode: str = "refuse"
    """`refuse`, `end` or `pass`."""
    certificate: str = ""
    """With `end`: a PEM file with the leaf and its chain. Empty if pgtrace is to make one."""
    key: str = ""
    """The PEM file with the certificate's key."""


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of a certificate that issue() made."""

    authority: Path
    """The file that a driver names as sslrootcert."""
    certificate: Path
    key: Path


def issue(directory: Path, names: Iterable[str]) -> Issued:
    """Make a leaf for these host names and addresses in `directory`, which only this user can
    enter. Raises MissingExtra."""
    try:
        import trustme
    except ImportError:
        raise MissingExtra("tls", "a certificate of pgtrace's own (--tls auto)") from None
    authority = trustme.CA(organization_name="pgtrace", organization_unit_name="one listener")
    leaf = authority.issue_cert(*dict.fromkeys([*ALWAYS, *(name for name in names if name), socket.gethostname()]))
    issued = Issued(directory / "authority.pem", directory / "listener.pem", directory / KEY_FILE)
    _write(issued.authority, authority.cert_pem.bytes())
    _write(issued.certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    _write(issued.key, leaf.private_key_pem.bytes())
    return issued


def _write(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
