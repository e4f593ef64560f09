"""The identity of a connection: its start-up, its server, its driver and the layer above it.

While the connection is open, most of this is read from its session. When it closes, the session
ends and its facts are copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from pgtrace.capture import peer
from pgtrace.capture.record import DECRYPTED, LEG
from pgtrace.identify import drivers, layers
from pgtrace.identify.collector import EvidenceCollector
from pgtrace.identify.layers import Layer
from pgtrace.protocol import heads
from pgtrace.session.connection import Session
from pgtrace.session.statements import Statement
from pgtrace.trace import security
from pgtrace.trace.ledger import KEYS_KEPT, PROCESSES_KEPT, Ledger

_NO: Final = frozenset({"false", "off", "no", "0", "f", "n"})
_NOTED: Final = "the program noted its call sites in this driver"
NOTHING_COLLECTED: Final = EvidenceCollector()
"""What a closed connection has instead of its own evidence."""


class Keepalive(NamedTuple):
    """A Primary keepalive that asks for a reply: when it arrived, and its row."""

    time_ns: int
    place: int


class Identity:
    """The identity of one connection."""

    __slots__ = (
        "_application_name",
        "_identified",
        "_kind",
        "_ledger",
        "_same_as",
        "authentication",
        "backend_pid",
        "cancels",
        "client",
        "evidence",
        "facts",
        "file",
        "index",
        "keepalive",
        "listener",
        "number",
        "parameters",
        "protocol",
        "protocol_requested",
        "server_version",
        "session",
        "transaction_status",
        "unrecognized_options",
        "upstream",
        "was_put_aside",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, index: int, file: int, number: int) -> None:
        self._ledger = ledger
        self.index = index
        """Its index in Trace.connections."""
        self.file = file
        self.number = number
        """1-based within its file."""
        self.client = ""
        self.upstream = ""
        self.listener = ""
        self.facts: dict[str, str] = {}
        self.session: Session | None = None
        """None if the connection has closed or is put aside."""
        self.evidence = NOTHING_COLLECTED
        self.was_put_aside = False
        """Whether it was silent while too many were open: some facts are then lost."""
        self.parameters: tuple[tuple[str, str], ...] = ()
        self.server_version = ""
        self.backend_pid: int | None = None
        self.protocol = ""
        self.protocol_requested = ""
        """The version that its StartupMessage asked for; `protocol` is the version that the server
        answered."""
        self.unrecognized_options: tuple[str, ...] = ()
        """The protocol options of its StartupMessage that the server did not know."""
        self.transaction_status = ""
        self.cancels: int | None = None
        """The index of the connection that its CancelRequest cancels."""
        self.keepalive: Keepalive | None = None
        """The Primary keepalive that asked for a reply and has none yet."""
        self.authentication: dict[str, str] = {}
        """How its driver authenticated (security.py)."""
        self._kind = ""
        self._application_name = ""
        self._identified: tuple[drivers.Identification, Layer] = (drivers.Identification(), layers.NONE)
        self._same_as: Identity | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.index, self._ledger) == (other.index, other._ledger)

    def __hash__(self) -> int:
        return self.index

    @property
    def name(self) -> str:
        """`c2`, or `b:2` for the second of several files, or `b2` on the second of several legs."""
        return self._ledger.name_of(self.file, self.number, self.leg)

    @property
    def leg(self) -> str:
        """The letter of its leg; empty if its recorder had only one."""
        return self.facts.get(LEG, "")

    @property
    def kind(self) -> str:
        """`session`, `cancel`, `replication` or `opaque`."""
        session = self.session
        if session is None:
            return self._kind
        if session.cancel:
            return "cancel"
        if session.startup or session.round_trips.started_ns is not None:
            return "replication" if dict(self.startup_parameters).get("replication", "false") not in _NO else "session"
        return "opaque" if session.unreadable or session.is_closed else "session"

    @property
    def startup_parameters(self) -> tuple[tuple[str, str], ...]:
        """The names and values in the StartupMessage, in its order."""
        if not self.parameters and self.session is not None and self.session.startup:
            found = heads.startup(self.session.startup) or _version_2(self.session.startup)
            if found is None:
                return ()
            version, self.parameters = found
            self.protocol = self.protocol_requested = f"{version >> 16}.{version & 0xFFFF}"
        return self.parameters

    @property
    def user(self) -> str:
        return dict(self.startup_parameters).get("user", "")

    @property
    def database(self) -> str:
        return dict(self.startup_parameters).get("database", self.user)

    @property
    def application_name(self) -> str:
        if self.session is None:
            return self._application_name
        return self.session.parameters.get("application_name") or dict(self.startup_parameters).get("application_name", "")

    @property
    def driver(self) -> str:
        """The client library, or `unknown`."""
        return self._identify()[0].driver

    @property
    def driver_evidence(self) -> tuple[str, ...]:
        return self._identify()[0].evidence

    @property
    def layer(self) -> Layer:
        """The layer above the driver, with the evidence; layers.NONE if there is none."""
        own = self._identify()[1]
        process = self.peer_process if own is layers.NONE or not own.name else None
        shown = self._ledger.layers.get((self.file, process.pid, self.driver)) if process is not None else None
        return (
            own if shown is None else Layer(shown[1].name, (f"another connection of its process shows it, {shown[0]}", *shown[1].evidence))
        )

    @property
    def peer_process(self) -> peer.Process | None:
        """The process at the driver's end, if the recorder ran on its host and found it."""
        return peer.read(self.facts.get(peer.KEY))

    def named_statements(self) -> Iterable[Statement]:
        """The named statements that are alive; none for a closed connection."""
        return [one for one in self.session.statements.live.values() if one.name] if self.session is not None else ()

    def is_same_as(self, other: Identity) -> None:
        """Copy the identity from another reading of the same capture."""
        self._same_as = other

    def learn_key(self) -> None:
        """Copy the cancel key, once the server has sent it."""
        session = self.session
        if session is None or not session.key or self.backend_pid is not None:
            return
        self.backend_pid = int.from_bytes(session.key[:4], "big")
        self._ledger.keys[session.key] = self.index, self.file, self.number, self.leg
        if len(self._ledger.identifies) >= KEYS_KEPT:
            self._ledger.identifies.pop(next(iter(self._ledger.identifies)))
        self._ledger.identifies[self.index] = self._identify

    def refresh(self) -> None:
        """Copy what the session has learned about itself."""
        session = self.session
        if session is None:
            return
        self.server_version = session.parameters.get("server_version", "")
        self.transaction_status = session.status
        if not self.was_put_aside:
            self.authentication = security.authentication(session.asked, session.initial_response)
        self.learn_key()
        _ = self.startup_parameters
        if session.negotiated is not None and self.protocol:
            self.protocol = f"{session.negotiated >> 16}.{session.negotiated & 0xFFFF}"
            self.unrecognized_options = session.unrecognized_options

    def _settle(self) -> None:
        """The session is about to end: copy what only it knows."""
        self._kind, application_name = self.kind, self.application_name
        self.parameters = self.startup_parameters
        self.refresh()
        self._application_name = application_name
        identified = self._identify()
        if self._same_as is None:
            self._show()  # its process may have become known after the evidence
        self._identified, self._same_as = identified, None
        if self.index in self._ledger.identifies:  # a cancel may come after its session's end
            identified = self._ledger.share(self._identified)
            self._ledger.identifies[self.index] = lambda: identified
        self.evidence = NOTHING_COLLECTED

    def _share(self) -> None:
        """Share equal values between connections."""
        share = self._ledger.share
        self._identified = share(self._identified)
        self.authentication = share(("authentication", *self.authentication.items()), self.authentication)
        self.parameters, self.listener, self.upstream = share(self.parameters), share(self.listener), share(self.upstream)
        self.server_version, self._application_name = share(self.server_version), share(self._application_name)

    def _identify(self) -> tuple[drivers.Identification, Layer]:
        if self._same_as is not None:
            return self._same_as._identify()
        session = self.session
        if session is not None and self.cancels is not None and self.cancels in self._ledger.identifies:
            target = self._ledger.identifies[self.cancels]()[0]
            if target.driver != drivers.UNKNOWN:
                self._identified = (
                    drivers.Identification(target.driver, ("its CancelRequest has the key of a session of that driver",)),
                    layers.NONE,
                )
        elif session is not None and self.evidence.has_more():
            scram_bytes = security.scram_bytes(session.initial_response)
            seen = self.evidence.evidence(self.startup_parameters, self.application_name, scram_bytes, is_encrypted=DECRYPTED in self.facts)
            identified = drivers.identify(seen)
            if identified.driver == drivers.UNKNOWN and self.facts.get("driver", drivers.UNKNOWN) != drivers.UNKNOWN:
                identified = drivers.Identification(self.facts["driver"], ("its golden names it",))
            self._identified = identified, layers.layer_of(seen)
            self._show()
        if session is None or self.cancels is not None:
            return self._identified
        own = self._identified[0]
        noted = self._ledger.call_sites.driver_of(self.file, self.backend_pid, self.client)
        if noted and noted != own.driver:
            self._identified = drivers.Identification(noted, (_NOTED,)), self._identified[1]
            self._show()
        elif own.driver == drivers.UNKNOWN:
            return self._of_process() or own, self._identified[1]
        return self._identified

    def _of_process(self) -> drivers.Identification | None:
        """The driver that is identified on other connections of its process which began in the same
        way and have a layer above it: the layer opens them all. Without a layer, a program may have
        several drivers."""
        key = self._process_key
        shown = self._ledger.drivers.get(key) if key is not None else None
        if shown is None:
            return None
        name, identified = shown
        evidence = f"{name} shows it: it is of the same process, began in the same way and has a layer above it"
        return drivers.Identification(identified.driver, (evidence, *identified.evidence))

    @property
    def _process_key(self) -> tuple[int, int, tuple[str, ...]] | None:
        """Its process, and how it began: the names of its start-up parameters, and
        application_name."""
        process = self.peer_process
        names = tuple(f"{name}={value}" if name == "application_name" else name for name, value in self.startup_parameters)
        return (self.file, process.pid, names) if process is not None and names else None

    def _show(self) -> None:
        """Record driver and layer for other connections of the same process."""
        identified, layer = self._identified
        key = self._process_key
        if key is None:
            return
        if layer.name and len(self._ledger.layers) < PROCESSES_KEPT:
            self._ledger.layers.setdefault((self.file, key[1], identified.driver), (self.name, layer))
        known = identified.driver != drivers.UNKNOWN and (bool(layer.name) or key in self._ledger.drivers)
        if known and len(self._ledger.drivers) < PROCESSES_KEPT:
            shown = self._ledger.drivers.setdefault(key, (self.name, identified))
            if shown is not None and shown[1].driver != identified.driver:
                self._ledger.drivers[key] = None


def _version_2(body: bytes) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """The version and parameters of a StartupMessage of protocol 2."""
    from pgtrace.protocol import startup
    from pgtrace.protocol.message import MalformedMessage

    try:
        message = startup.Version2StartupMessage.parse(body) if startup.is_version_2(body) else None
    except MalformedMessage:
        return None
    return (message.protocol, message.parameters) if message is not None else None
