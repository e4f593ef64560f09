"""What a COPY says about its data, and what replication commands say about theirs."""

from __future__ import annotations

import pytest
from hypothesis import given

from pgtrace.sqltext.copies import CopyStatement, copy_statement
from pgtrace.sqltext.replication import CreatedSlot, StartReplication, created_slot, is_answered_in_parts, start_replication
from tests.sqltext.sql_strategy import SQL


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("COPY t FROM STDIN", CopyStatement()),
        ('copy public.t (id, "B") to stdout', CopyStatement(columns=("id", "B"))),
        ("COPY (SELECT ')' FROM x) TO STDOUT (FORMAT csv, HEADER)", CopyStatement("csv", header=True)),
        ("copy t from stdin with (header match, format 'CSV')", CopyStatement("csv", header=True)),
        ("copy t from stdin (format csv, header false, force_quote (a, b), delimiter ')')", CopyStatement("csv")),
        ("COPY t FROM STDIN (FORMAT csv, QUOTE '|', ESCAPE E'\\\\')", CopyStatement("csv", quote=b"|", escape=b"\\")),
        ("COPY t FROM STDIN (FORMAT csv, QUOTE '''')", CopyStatement("csv", quote=b"'", escape=b"'")),
        (
            "copy t from stdin with delimiter as ',' csv header quote as '''' escape '\\' force quote a",
            CopyStatement("csv", header=True, quote=b"'", escape=b"\\"),
        ),
        ("copy t from stdin csv where a = 'header'", CopyStatement("csv")),
        ("copy binary t to stdout", CopyStatement("binary")),
        ("copy t to stdout with binary", CopyStatement("binary")),
        ("/* export */ COPY t TO STDOUT (FORMAT binary);", CopyStatement("binary")),
        ("copy t to stdout (format parquet)", None),
        ("copy t to '/tmp/t' csv", None),
        ("copy t from program 'x'", None),
        ("select 1", None),
        ("copy", None),
        ("", None),
    ],
)
def test_the_options_of_a_copy(sql: str, expected: CopyStatement | None) -> None:
    assert copy_statement(sql) == expected


def test_what_start_replication_asks_for() -> None:
    assert start_replication(
        'START_REPLICATION SLOT "s 1" LOGICAL 0/0 (proto_version \'4\', "publication_names" \'"p",q\', messages)'
    ) == StartReplication("s 1", True, (("proto_version", "4"), ("publication_names", '"p",q'), ("messages", "")))
    assert start_replication("start_replication slot logical physical 0/0") == StartReplication("logical", False, ())
    assert start_replication("START_REPLICATION 0/3000000 TIMELINE 2") == StartReplication("", False, ())
    assert start_replication("START_REPLICATION") == StartReplication("", False, ())
    assert start_replication("IDENTIFY_SYSTEM") is None
    assert start_replication("") is None


def test_which_plugin_a_slot_was_created_with() -> None:
    assert created_slot('CREATE_REPLICATION_SLOT "s" LOGICAL "pgoutput"') == CreatedSlot("s", "pgoutput")
    assert created_slot("create_replication_slot s temporary logical wal2json (snapshot 'export')") == CreatedSlot("s", "wal2json")
    assert created_slot("CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL") is None
    assert created_slot("CREATE_REPLICATION_SLOT") is None
    assert created_slot("select 1") is None


def test_which_commands_are_answered_in_parts() -> None:
    assert is_answered_in_parts("BASE_BACKUP (LABEL 'x')")
    assert is_answered_in_parts("start_replication 0/0")
    assert not is_answered_in_parts("IDENTIFY_SYSTEM")
    assert not is_answered_in_parts("")


@given(SQL)
def test_no_text_raises(sql: str) -> None:
    for before in ("", "copy t from stdin ", "copy ", "START_REPLICATION SLOT s LOGICAL 0/0 (", "CREATE_REPLICATION_SLOT "):
        copy_statement(before + sql)
        start_replication(before + sql)
        created_slot(before + sql)
