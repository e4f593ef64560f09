"""How a connection is protected and how its driver authenticated, from the capture's facts and the
start-up.

    {"frontend": {"version": "TLSv1.3", "cipher": ..., "alpn": "postgresql", "sni": "db"}, "backend": {...}}
    {"request": "AuthenticationSASL", "mechanism": "SCRAM-SHA-256", "channel_binding": "n"}

The value of channel_binding is from the GS2 header. `n`: the driver does not use channel binding;
`y`: it could, and thinks the server cannot; `p=...`: it binds the login to the TLS connection.
Payloads are blanked in every capture; mechanism and header are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pgtrace.protocol import codes

PARTS: Final = ("version", "cipher", "alpn", "sni", "error")


def tls(facts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What is known of the TLS of each leg that has TLS, by leg."""
    found: dict[str, dict[str, str]] = {}
    for leg in ("frontend", "backend"):
        for part in PARTS:
            value = facts.get(f"tls.{leg}" if part == "version" else f"tls.{leg}.{part}")
            if value:
                found.setdefault(leg, {})[part] = value
    return found


def authentication(asked: int, initial_response: bytes) -> dict[str, str]:
    """How the driver authenticated; empty if it was not asked to, or its start-up was not seen."""
    if asked < 0:
        return {}
    said = {"request": codes.AUTHENTICATION_NAMES.get(asked, "Unknown")}
    mechanism, end, rest = initial_response.partition(b"\0")
    if end:
        said["mechanism"] = mechanism.decode("ascii", "replace")
        header = rest[4:].partition(b",")[0].decode("ascii", "replace")
        if header[:1] in ("n", "y", "p"):
            said["channel_binding"] = header
    return said


def scram_bytes(initial_response: bytes) -> int:
    """The length of the driver's first SCRAM message, GS2 header included; 0 if there is none."""
    mechanism, _, rest = initial_response.partition(b"\0")
    return max(len(rest) - 4, 0) if mechanism.startswith(b"SCRAM-") else 0


def in_words(facts: Mapping[str, str], said: Mapping[str, str]) -> list[tuple[str, str]]:
    """Lines for a person: the legs, the login, and the problems with them."""
    lines = []
    for leg, parts in tls(facts).items():
        name = {"frontend": "driver's leg", "backend": "upstream leg"}[leg]
        lines.append(
            (
                name,
                parts.get("error") or "  ".join(f"{part} {value}" if part in ("alpn", "sni") else value for part, value in parts.items()),
            )
        )
    if said:
        binding = {"n": "", "y": ", channel binding possible but not offered"}.get(
            said.get("channel_binding", "n"), ", bound to the channel"
        )
        lines.append(("login", f"{said.get('mechanism', said['request'])}{binding}"))
    if "channel_binding" in facts:
        lines.append(("dead end", facts["channel_binding"]))
    return lines
