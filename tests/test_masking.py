"""Command lines are shown without the secrets in them, however these are written."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace import conninfo, masking

ONE, TWO = "Zq7xKm3w", "Wv9pLt4r"
"""The secret, or two pieces of it."""
COMMANDS = [
    (["psql", f"postgresql://u:{ONE}@h/db"], ["psql", "postgresql://u:***@h/db"]),
    (["psql", f"POSTGRESQL://u:{ONE}@h/db"], ["psql", "POSTGRESQL://u:***@h/db"]),
    (["app", f"postgresql+asyncpg://u:{ONE}/{TWO}@{TWO} ?{ONE}@h/db"], ["app", "postgresql+asyncpg://u:***@h/db"]),
    (["java", f"jdbc:postgresql://h/db?user=u&password={ONE}&ssl=true"], ["java", "jdbc:postgresql://h/db?user=u&password=***"]),
    (["psql", f"postgresql://h/db?p%61ssword={ONE}"], ["psql", "postgresql://h/db?p%61ssword=***"]),
    (["psql", f"host=h user=u password={ONE} dbname=d"], ["psql", "host=h user=u password=*** dbname=d"]),
    (["psql", f"host=h password='{ONE} port=1 {TWO}' dbname=d"], ["psql", "host=h password=*** dbname=d"]),
    (["psql", f"host=h password = {ONE} {TWO} b=c user=u"], ["psql", "host=h password = *** user=u"]),
    (["psql", f"host=h sslpassword={ONE} scram_client_key={TWO} port=1"], ["psql", "host=h sslpassword=*** scram_client_key=*** port=1"]),
    (["app", f"host=h,password={ONE}"], ["app", "host=h,password=***"]),
    (["env", f"PGPASSWORD={ONE} {TWO}", "psql"], ["env", "PGPASSWORD=***", "psql"]),
    (["app", f"--password={ONE} {TWO}"], ["app", "--password=***"]),
    (["app", "--db-password", ONE, "--verbose"], ["app", "--db-password", "***", "--verbose"]),
    (["app", "--api-token", f"{ONE} {TWO}"], ["app", "--api-token", "***"]),
    (["psql", "-W", ONE], ["psql", "-W", "***"]),
    (["sh", "-c", f"cd x && PGPASSWORD='{ONE} {TWO}' psql -h h"], ["sh", "-c", "cd x && PGPASSWORD=*** psql -h h"]),
    (["sh", "-c", f"app --password {ONE} go"], ["sh", "-c", "app --password *** go"]),
    (["app", f'{{"user": "u", "password": "{ONE} {TWO}"}}'], ["app", '{"user": "u", "password": ***']),
]
UNTOUCHED = [
    ["pytest", "-k", "test_password", "tests/test_tokens.py"],
    ["psql", "--no-password", "db"],
    ["psql", "-c", "select passwd from users where name = 'x'"],
    ["app", "--passfile", "/etc/pgpass", "passfile=/x"],
    ["curl", "http://localhost:8000/a?b=c"],
    ["psql", "postgresql://me@h:5432/db?sslmode=require"],
]


@pytest.mark.parametrize(("words", "shown"), COMMANDS)
def test_a_secret_is_masked(words: list[str], shown: list[str]) -> None:
    assert masking.arguments(words) == shown
    assert not any(piece in " ".join(shown) for piece in (ONE, TWO))


@pytest.mark.parametrize("words", UNTOUCHED)
def test_what_is_no_secret_is_shown(words: list[str]) -> None:
    assert masking.arguments(words) == words


@given(st.text("ab @:/?#&='\\\\\"%;,é", max_size=8))
def test_a_password_that_is_written_as_libpq_wants_it_is_masked_whatever_is_in_it(rest: str) -> None:
    password = f"{ONE}{rest}{TWO}"
    said = {"host": "h", "user": "u", "password": password, "dbname": "d"}
    for address in (
        conninfo.keywords(said),
        conninfo.url(said),
        f"postgresql://u:{quote(password)}@h/d",
        f"postgresql://h/?password={quote(password, safe='')}",
    ):
        (shown,) = masking.arguments([address])
        assert ONE not in shown
        assert TWO not in shown
    assert masking.arguments(["app", f"--password={password}"]) == ["app", "--password=***"]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("part", ["a", "a://b:", "-", "%41", "a ", "x=", "password=", "'", "--token ", "@"])
def test_a_long_argument_takes_no_longer_than_its_length(part: str) -> None:
    word = part * (120_000 // len(part))
    masking.arguments([word, f"host={word}", f"--password={word}"])
    masking.message(word)


def test_a_message_is_masked_and_its_words_stay() -> None:
    assert (
        masking.message(f"Got unexpected extra argument (postgresql://u:{ONE}@h/db)")
        == "Got unexpected extra argument (postgresql://u:***@h/db)"
    )
    assert masking.message(f"postgresql:/u:{ONE}@h/db: no such file") == "postgresql:/u:***@h/db: no such file"
    assert masking.message("unix:/run/a:5432: no such file") == "unix:/run/a:5432: no such file"
    assert masking.message(f"No such file: password={ONE}") == "No such file: password=***"
    assert masking.message("the password is wrong: type it again") == "the password is wrong: type it again"
