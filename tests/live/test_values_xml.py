"""xml needs a server built with libxml, which the embedded one is not."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import pq

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import values


@pytest.mark.parametrize(
    "document", ["<a/>", "text", "", '<?xml version="1.0" encoding="UTF-8"?><a b="c">é</a>', '<?xml version="1.0" standalone="yes"?><a/>']
)
def test_both_formats_of_xml(tls_server: EmbeddedServer, document: str) -> None:
    with psycopg.connect(tls_server.url()) as connection:
        for sql in (b"SELECT XMLPARSE(CONTENT $1)", b"SELECT ARRAY[XMLPARSE(CONTENT $1)]", b"SELECT ROW(XMLPARSE(CONTENT $1))"):
            text, binary = (
                connection.pgconn.exec_params(sql, [document.encode()], result_format=form) for form in (pq.Format.TEXT, pq.Format.BINARY)
            )
            assert text.ftype(0) in (142, 143, 2249)
            shown = values.text(binary.ftype(0), 1, binary.get_value(0, 0))
            assert shown == (text.get_value(0, 0) or b"").decode()
