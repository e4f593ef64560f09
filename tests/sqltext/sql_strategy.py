"""Texts made of what an SQL scanner trips over."""

from __future__ import annotations

from hypothesis import strategies as st

WORDLIKE = """' '' " \\ $ $$ $a$ $1 E' e' N' U&' U&" B' -- /* */ ( ) [ ] , ; : :: := .. . + - * / ~ ! @ # ^ & | ` ?
% < > = 0 1 1.5 .5 1e 0x1f 1_0 a B _x é
in IN values VALUES array ARRAY null NULL true not is
select from insert into savepoint rollback to declare close fetch begin end case create function"""
PIECES = st.sampled_from([*WORDLIKE.split(), " ", "\n", "\t", "\r", "\0", "\ud800", "\udcff", "𝄞", "'a'\n'b'"])
SQL = st.lists(PIECES, max_size=30).map("".join) | st.lists(PIECES, max_size=30).map(" ".join) | st.text(max_size=60)
