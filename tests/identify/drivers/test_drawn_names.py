"""Names that a driver draws, told from those a program chose."""

from __future__ import annotations

import re

from pgtrace.identify.drivers import asyncpg
from pgtrace.identify.drivers.names import DrawnNames, StableNames

COUNTED = DrawnNames(re.compile(r"[sp](\d+)"), distinct=False)
RANDOM = DrawnNames(re.compile(r"([0-9a-z]{8,16})"), distinct=False)


def test_numbers_follow_the_order_of_appearance_kind_by_kind() -> None:
    names = StableNames(COUNTED)
    assert [names.name(one) for one in ("s71", "p9", "s72", "s71", "mine", "")] == ["s1", "p1", "s2", "s1", "mine", ""]


def test_a_name_that_is_drawn_as_a_whole_gets_another() -> None:
    names = StableNames(RANDOM)
    assert [names.name(one) for one in ("tbnf3eepacp1", "tbnf3eepacp2")] == ["drawn_1", "drawn_2"]


def test_in_a_text_a_plain_name_is_known_only_where_a_name_can_stand() -> None:
    names = StableNames(COUNTED)
    assert names.in_text("DEALLOCATE s71") == "DEALLOCATE s71"
    names.name("s71")
    assert names.in_text('deallocate PREPARE "s71"; SELECT s71.x FROM s71; EXECUTE s71(1)') == (
        'deallocate PREPARE "s1"; SELECT s71.x FROM s71; EXECUTE s1(1)'
    )
    assert names.in_text('prepared statement "s71" does not exist') == 'prepared statement "s1" does not exist'
    assert names.in_text('relation "s71" does not exist; prepared statement "s711"') == (
        'relation "s71" does not exist; prepared statement "s711"'
    )


def test_asyncpg_s_are_known_anywhere() -> None:
    names = StableNames(asyncpg.DRAWN_NAMES)
    assert names.in_text("SAVEPOINT __asyncpg_savepoint_f__; RELEASE __asyncpg_savepoint_10__ /* __asyncpg_savepoint_f__ */") == (
        "SAVEPOINT __asyncpg_savepoint_1__; RELEASE __asyncpg_savepoint_2__ /* __asyncpg_savepoint_1__ */"
    )
    assert names.name("__asyncpg_5d3cbd02-5f21-4b1b-a5b4-6d70b2a51111__") == "__asyncpg_1__"
    assert names.name("asyncpg_stmt_1") == "asyncpg_stmt_1"


def test_a_driver_that_draws_none() -> None:
    names = StableNames(None)
    assert (names.name("s71"), names.in_text("DEALLOCATE s71")) == ("s71", "DEALLOCATE s71")
