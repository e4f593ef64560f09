"""Bytes go into a file without a name, and come out again at any place."""

from __future__ import annotations

import random

from pgtrace.serve.script import _CHUNK, Step, Steps
from pgtrace.serve.store import EXTENT_BYTES, Store, Stream


def test_streams_are_read_at_any_place() -> None:
    store = Store()
    chance = random.Random(7)
    streams = [Stream(store), Stream(store)]
    expected = [bytearray(), bytearray()]
    for _ in range(300):
        which, piece = chance.randrange(2), chance.randbytes(chance.randrange(3 * EXTENT_BYTES // 2))
        streams[which].append(piece)
        expected[which] += piece
    for stream, whole in zip(streams, expected, strict=True):
        for settled in (False, True):
            if settled:
                stream.settle()
            assert stream.length == len(whole)
            for _ in range(200):
                offset, size = chance.randrange(len(whole)), chance.randrange(100_000)
                assert stream.read(offset, size) == whole[offset : offset + size]
    assert streams[0].read(streams[0].length, 10) == b""
    store.close()


def test_the_steps_of_a_long_connection_leave_memory() -> None:
    store = Store()
    steps = Steps(store)
    for number in range(5 * _CHUNK):
        steps.append(Step(ord("Q"), number, number % 7, bytes([number % 251]) * 16, latency_ns=number))
        steps.settle(number)
    assert len(steps) == 5 * _CHUNK
    assert len(steps._open) < 2 * _CHUNK
    for number in (0, 1, _CHUNK, 3 * _CHUNK + 5, 5 * _CHUNK - 1):
        step = steps[number]
        assert (step.index, step.request, step.key, step.latency_ns) == (number, number, bytes([number % 251]) * 16, number)
    store.close()
