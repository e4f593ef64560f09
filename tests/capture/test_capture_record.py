"""Records: every kind there and back, what is unknown left out, nothing ever raised."""

from __future__ import annotations

import typing
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.capture import record
from pgtrace.capture.record import (
    NEITHER,
    CallSite,
    Close,
    Data,
    Elided,
    End,
    Ended,
    Fact,
    Gap,
    Mark,
    Open,
    Pause,
    Record,
    Rewrite,
    Unwritable,
    decode_all,
    encode,
    may_concern,
)
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture import capture_sample_v1, capture_sample_v1_1, capture_sample_v1_2

RECORDS = [*capture_sample_v1.RECORDS, *capture_sample_v1_1.RECORDS, *capture_sample_v1_2.RECORDS]


def test_every_kind_has_a_sample() -> None:
    assert {type(item) for item in RECORDS} == {cls for cls, _ in record.LAYOUTS.values()} == set(typing.get_args(Record))


@pytest.mark.parametrize("item", RECORDS, ids=lambda item: type(item).__name__)
def test_there_and_back(item: Record) -> None:
    (back,) = decode_all(encode(item))
    assert back == item
    assert type(back) is type(item)


def test_order_is_kept_among_kinds() -> None:
    assert decode_all(b"".join(map(encode, RECORDS))) == RECORDS


TOP = record.LATEST_NS - 1
COUNT = 2**48 - 1


def test_the_largest_numbers_fit() -> None:
    for item in (Data(TOP, 2**32 - 1, BACKEND, TOP, b""), Elided(TOP, 1, FRONTEND, TOP, COUNT, COUNT, COUNT), End(TOP)):
        assert decode_all(encode(item)) == [item]


def spoiled() -> Iterator[Record]:
    """Each kind of record with one field that cannot be."""
    for item in RECORDS:
        for name, value in zip(item._fields, item, strict=True):
            for bad in BAD.get(name, ()):
                if name == "side" and bad == NEITHER and type(item) in (Close, Ended, Gap, Pause):
                    continue
                if name == "connection" and type(item) in (Gap, Pause):
                    continue
                spoilt: Record = item._replace(**{name: (bad, 0) if isinstance(value, tuple) else bad})
                yield spoilt


BAD = {
    "time_ns": (TOP + 1, 2**64 - 1), "wall_ns": (TOP + 1, 2**64 - 1), "offset": (TOP + 1, 2**64 - 1), "offsets": (TOP + 1,),
    "connection": (0,),
    "side": (2, 3, 255), "length": (COUNT + 1, 2**64 - 1), "bytes": (COUNT + 1,), "records": (COUNT + 1,), "messages": (COUNT + 1,),
    "columns": (COUNT + 1,),
}  # fmt: skip


@pytest.mark.parametrize("item", list(spoiled()), ids=str)
def test_what_cannot_be_is_a_gap_and_is_not_written(item: Record) -> None:
    written = record._encode(item)
    assert decode_all(encode(Data(3, 1, 0, 0, b"")) + written + encode(End(9)))[1:] == [Gap(3, 0, NEITHER, len(written), 1), End(9)]
    with pytest.raises(Unwritable):
        encode(item)


def test_empty_fields_are_empty() -> None:
    for item in (Data(1, 1, 0, 0, b""), Rewrite(1, 1, 1, 0, b"", b""), Fact(1, 1, "", "")):
        assert decode_all(encode(item)) == [item]


def test_text_keeps_bytes_that_are_not_utf8() -> None:
    item = Fact(1, 1, "peer", b"caf\xe9 \xff".decode("utf-8", "surrogateescape"))
    assert decode_all(encode(item)) == [item]
    assert b"caf\xe9 \xff" in encode(item)


def test_text_that_no_encoding_knows_does_not_raise() -> None:
    (back,) = decode_all(encode(Mark(1, True, "lone \ud800", 1)))
    assert back == Mark(1, True, "lone \\ud800", 1)


def test_unknown_kinds_are_skipped() -> None:
    unknown = (20).to_bytes(4, "big") + b"\xc8" + b"x" * 19
    known = Data(7, 1, 0, 0, b"abc")
    assert decode_all(unknown + encode(known) + unknown + encode(End(8)) + unknown) == [known, End(8)]
    smallest = b"\0\0\0\1\xc8"
    assert decode_all(smallest + encode(known) + smallest) == [known]


@pytest.mark.parametrize(
    "item", [item for item in RECORDS if record.LAYOUTS[encode(item)[4]][1][-1] != "r"], ids=lambda item: type(item).__name__
)
def test_fields_of_a_later_minor_version_are_skipped(item: Record) -> None:
    if isinstance(item, CallSite):
        item = item._replace(marks="checkout")  # the last field is left out if it is empty, so it comes before any later one
    whole = encode(item)
    longer = (len(whole) - 4 + 9).to_bytes(4, "big") + whole[4:] + b"new field"
    assert decode_all(longer + encode(End(1))) == [item, End(1)]


@pytest.mark.parametrize("item", RECORDS, ids=lambda item: type(item).__name__)
def test_fields_that_do_not_fit_become_a_gap(item: Record) -> None:
    cut = encode(item)[: 5 + 7]
    short = (len(cut) - 4).to_bytes(4, "big") + cut[4:]
    assert decode_all(encode(Data(3, 1, 0, 0, b"")) + short + encode(End(9)))[1:] == [Gap(3, 0, NEITHER, len(short), 1), End(9)]
    assert decode_all(short, 5) == [Gap(5, 0, NEITHER, len(short), 1)]


def test_a_length_beyond_the_block_ends_it_as_a_gap() -> None:
    rest = b"\0\0\1\0\1" + b"x" * 30
    assert decode_all(encode(End(4)) + rest) == [End(4), Gap(4, 0, NEITHER, len(rest), 0)]
    assert decode_all(encode(End(4)) + b"\0\0\0\0\1\0\0") == [End(4), Gap(4, 0, NEITHER, 7, 0)]
    assert decode_all(b"\0\0", 6) == [Gap(6, 0, NEITHER, 2, 0)]


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
_U62 = st.integers(0, TOP)


@given(_U62, st.integers(1, 2**32 - 1), st.tuples(_TEXT, _TEXT, _TEXT, _TEXT), _U62, st.binary(max_size=300))
def test_any_content_comes_back(time_ns: int, connection: int, texts: tuple[str, str, str, str], wall_ns: int, data: bytes) -> None:
    items: list[Record] = [Open(time_ns, connection, *texts, wall_ns), Data(time_ns, connection, 0, wall_ns, data)]
    assert decode_all(b"".join(map(encode, items))) == items


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(buffer: bytes) -> None:
    decode_all(buffer)


@given(st.sampled_from(RECORDS), st.data())
def test_mutated_records_never_raise(item: Record, data: st.DataObject) -> None:
    mutated = bytearray(encode(item) + encode(RECORDS[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    decode_all(bytes(mutated))


@given(
    st.lists(st.tuples(st.sampled_from(RECORDS), st.one_of(st.integers(1, 12), st.integers(1, 2**32 - 1))), max_size=8), st.integers(0, 12)
)
def test_a_block_is_passed_over_only_where_nothing_of_the_connection_is_in_it(drawn: list[tuple[Record, int]], other: int) -> None:
    records = [item._replace(connection=number) if hasattr(item, "connection") else item for item, number in drawn]
    buffer = b"".join(map(encode, records))
    for number in {item.connection for item in records if hasattr(item, "connection")}:
        assert may_concern(buffer, number)
