"""Bodies that are nearly messages: the same ones in every run."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator


def mutants(example: bytes, seed: str, count: int) -> Iterator[bytes]:
    """Bodies a little or a lot different from the example."""
    rnd = random.Random(seed)
    for _ in range(count):
        body = bytearray(example)
        for _ in range(rnd.randint(1, 4)):
            at = rnd.randint(0, len(body))
            choice = rnd.randrange(6)
            if choice == 0:
                body[at : at + 1] = rnd.randbytes(1)
            elif choice == 1:
                del body[at : at + rnd.randint(1, 4)]
            elif choice == 2:
                body[at:at] = rnd.choice((b"\0", b"\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe", b"\x7f\xff", b"\xc3", b"x\0"))
            elif choice == 3:
                body[at : at + 4] = struct.pack(">i", rnd.choice((-2, -1, 0, 1, 3, 4, 65535, 2**31 - 1)))
            elif choice == 4:
                body[at : at + 2] = struct.pack(">H", rnd.choice((0, 1, 2, 3, 255, 65535)))
            else:
                body = body[:at]
        yield bytes(body)
