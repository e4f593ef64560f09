"""The messages of a base backup: archives in sequence, then the manifest, in the CopyData of one
COPY out.

The server answers BASE_BACKUP with two result sets and one CopyOutResponse. From then on `n` begins
an archive and `m` the manifest; `d` holds bytes of the one begun last, and `p` reports progress.
This applies from PostgreSQL 15 on. Older servers send bare tar files, each in a COPY out of its
own.

Source: PostgreSQL manual, "Streaming Replication Protocol", BASE_BACKUP.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol.bodies import Body
from pgtrace.protocol.codes import BACKEND
from pgtrace.protocol.message import message
from pgtrace.protocol.primitives import Rest, ZString
from pgtrace.protocol.replication.primitives import Int64, SubMessage

FIRST_MAJOR: Final = 15
"""The first PostgreSQL version whose base backups consist of these messages."""


@message(b"n", BACKEND, name="new archive")
class NewArchive(SubMessage):
    """Byte1('n') String String. The archive's file name, and the tablespace's directory, which is
    empty for the main data directory."""

    name: str
    directory: str
    BODY = Body("name" / ZString, "directory" / ZString)
    EXAMPLE = b"16390.tar\0/srv/fast\0"


@message(b"m", BACKEND, name="manifest")
class Manifest(SubMessage):
    """Byte1('m'). The backup manifest begins."""

    BODY = Body()
    EXAMPLE = b""


@message(b"d", BACKEND, name="archive or manifest data")
class ArchiveOrManifestData(SubMessage):
    """Byte1('d') Byten."""

    data: bytes
    BODY = Body("data" / Rest)
    EXAMPLE = b"base/1/2619\0\0\0"


@message(b"p", BACKEND, name="progress report")
class ProgressReport(SubMessage):
    """Byte1('p') Int64. How many bytes of the current tablespace are done."""

    completed_bytes: int
    BODY = Body("completed_bytes" / Int64)
    EXAMPLE = b"\0\0\0\0\0\x20\0\0"


MESSAGES: Final[tuple[type[SubMessage], ...]] = (NewArchive, Manifest, ArchiveOrManifestData, ProgressReport)
