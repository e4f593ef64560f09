"""Ports that nobody else gets between being found and being used."""

from __future__ import annotations

import socket

import pytest

from pgtrace.demo import ports
from pgtrace.demo.ports import free_port


def test_a_port_is_free_and_not_one_that_is_given_to_those_who_ask_for_any() -> None:
    given = []
    for _ in range(50):
        port = free_port()
        assert port in ports._OWN
        with socket.create_server(("127.0.0.1", port)), socket.socket() as any_of_them:
            any_of_them.bind(("127.0.0.1", 0))
            given.append(any_of_them.getsockname()[1])
    assert not set(given) & set(ports._OWN)


def test_a_port_that_is_taken_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TRIES", 2)
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_OWN", range(port, port + 2))
        assert port not in {free_port() for _ in range(5)}
        monkeypatch.setattr(ports, "_OWN", [port, port])
        assert free_port() not in (0, port)
