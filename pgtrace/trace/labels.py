"""How a row looks in the timeline: the shape and the label of a round trip, and of a message that stands alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pgtrace.describe import notation
from pgtrace.identify.habits import query_text
from pgtrace.protocol import codes, fields
from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.events import RoundTrip, Statement
from pgtrace.session.failures import failure
from pgtrace.trace import ends
from pgtrace.trace.rows import FLIGHT_KEPT, Kind, Label, Shape, prepared_earlier
from pgtrace.trace.statements import group_number

if TYPE_CHECKING:
    from pgtrace.describe.copy_messages import Inside

_LABELLED_STATEMENTS: Final = 3
_ERRORS: Final = frozenset({ord("E"), codes.VERSION_2_ERROR})


def shape(round_trip: RoundTrip) -> Shape:
    """The shape of a round trip as it stands."""
    sent, received = bytes(round_trip.sent), bytes(round_trip.received)
    kind = Kind.SETUP if round_trip.setup else Kind.ROUND_TRIP
    if not round_trip.flush_points and round_trip.closed_ns is not None:
        kind = Kind.RUN
    formats = round_trip.formats or (1 if round_trip.values_text else 0) | (2 if round_trip.values_binary else 0)
    statements = _statements(round_trip)
    return Shape(
        kind=kind,
        flight=notation.flight(sent, received),
        sent=sent[:FLIGHT_KEPT],
        received=received[:FLIGHT_KEPT],
        depth=round_trip.depth,
        errors=round_trip.errors,
        prepares=round_trip.prepares,
        reuses=round_trip.reuses,
        formats=("", "t", "b", "m")[formats],
        status_before=round_trip.status_before,
        status=round_trip.status,
        statement=statements[0].name if statements else "",
        statements=min(len(statements), 2),
        uncertain=round_trip.uncertain,
        executions=round_trip.executions,
        block_began=round_trip.block_began,
        block_end=round_trip.block_end,
        owed_before=round_trip.owed_before,
        tags=round_trip.tags,
        warnings=round_trip.warnings,
    )


def label(round_trip: RoundTrip, who: Callable[[], str]) -> Label:
    """The texts of a round trip as it stands; `who` says whose start-up it is."""
    texts: list[str] = []
    for statement in _statements(round_trip):
        text = statement.sql if statement.sql is not None else prepared_earlier(statement.name)
        if text not in texts:
            texts.append(text)
    if round_trip.statements and round_trip.statements[0].simple:
        sql = query_text(round_trip.statements)
    else:
        sql = " · ".join(texts[:_LABELLED_STATEMENTS]) + (" · …" if len(texts) > _LABELLED_STATEMENTS else "")
    if round_trip.setup and not texts:
        sql = _set_up(round_trip, who)
    groups = tuple(dict.fromkeys(map(group_number, round_trip.statements)))
    end = ends.departed(round_trip)
    if not round_trip.error:
        return Label(sql, groups=groups, end=end)
    told = fields.error_fields(round_trip.error)
    return Label(sql, f"{told.get('C', '')} {told.get('M', '')}".strip(), groups, end, round_trip.failures)


def alone(side: int, code: int, body: bytes, inside: Inside | None) -> tuple[Kind, str, Label]:
    """Kind, flight and texts of a message that belongs to no round trip; `inside` is what a CopyData holds, where that is known."""
    if code == codes.OPAQUE:
        return Kind.OPAQUE, "opaque", Label("encrypted, or not PostgreSQL")
    if code == codes.UNDECODED:
        return Kind.UNDECODED, "not decoded", Label("bytes between a gap and the next place where both sides can be read")
    from pgtrace.describe import arguments

    name = codes.message_name(side, code, codes.authentication_subtype(body))
    name, text = (inside.label, "") if inside is not None else (name, arguments.argument(side, code, body))
    if side == FRONTEND:
        return Kind.RUN, f"{chr(code)} →", Label(f"{name} {text}".strip())
    letter = "E" if code == codes.VERSION_2_ERROR else chr(code)
    return (
        Kind.ASYNCHRONOUS,
        f"← {letter}",
        Label(name, text, failures=(failure(body, None),)) if code in _ERRORS else Label(f"{name} {text}".strip()),
    )


def _statements(round_trip: RoundTrip) -> Sequence[Statement]:
    """What it is about: of a COPY that only goes on, the one that began it."""
    return round_trip.statements or ([round_trip.copying] if round_trip.copying is not None else [])


def _set_up(round_trip: RoundTrip, who: Callable[[], str]) -> str:
    if notation.START in round_trip.sent:
        return f"StartupMessage {who()}"
    if notation.SSL in round_trip.sent or notation.GSS in round_trip.sent:
        return "encryption requested"
    return "authentication"
