"""What a packet carries: link layers and tunnels, each a step from one header to the next.

network() removes a packet's link layer. inside() removes one tunnel: it returns the network packet
inside an IP packet of that protocol, if there is one. Both return an EtherType and where its packet
begins, so ip.py can continue from there as often as needed.

- Links: Ethernet, Linux cooked (both versions), raw IP, BSD loopback (both byte orders), PPP, and
  Apple's PKTAP, a header before any of them.
- Between link and IP: VLAN tags, MPLS labels (also followed by an Ethernet pseudowire), PPPoE,
  LLC/SNAP.
- Tunnels: IP in IP, GRE (with keys, PPTP, NVGRE, ERSPAN I to III), VXLAN, VXLAN-GPE, GENEVE, GRE
  and MPLS in UDP. VXLAN is recognised by its ports, and on any other port by its shape, since many
  systems choose their own.
- For a tunnel that cannot be read, because it is encrypted or of another kind, they return its
  name: if you find no PostgreSQL, you need to know that there was a tunnel.

All positions refer to the same bytes. The functions raise IndexError for a packet that is too
short. Sources: www.tcpdump.org/linktypes.html; RFC 2516, 2637, 2784, 2890, 3032, 4023, 7348, 7510,
8086, 8926; draft-foschiano-erspan; the pktap.h of Apple's libpcap.
"""

from __future__ import annotations

from typing import Final

IPV4: Final = 0x0800
IPV6: Final = 0x86DD
NOTHING: Final = 0
"""Neither an IP packet nor a known tunnel."""
UNKNOWN_LINK: Final = -1

Step = tuple[int | str, int]
"""An EtherType and where its packet begins; or the name of a tunnel that cannot be read, and a
meaningless position."""

TCP: Final = 6
UDP: Final = 17
_IP_IN_IP, _IPV6_IN_IP, _GRE, _ESP, _AH, _MPLS_IN_IP, _L2TP = 4, 41, 47, 50, 51, 137, 115
TUNNELS: Final = frozenset({_IP_IN_IP, _IPV6_IN_IP, _GRE, _ESP, _AH, _MPLS_IN_IP, _L2TP, UDP})
"""IP protocols that may carry TCP."""

_NULL, _ETHERNET, _PPP, _PPP_HDLC, _PPPOE_LINK, _LOOP, _COOKED, _IPV4_ONLY, _IPV6_ONLY, _COOKED_2 = 0, 1, 9, 50, 51, 108, 113, 228, 229, 276
_MPLS_LINK: Final = 219
_RAW: Final = (12, 14, 101)
_PKTAP: Final = (149, 258)
"""Apple's tcpdump writes 149, a number for private use; 258 is the registered one."""
ETHERNET: Final = _ETHERNET
_FAMILIES: Final = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}
"""AF_INET, and the values that systems use for AF_INET6."""

_VLAN: Final = frozenset({0x8100, 0x88A8, 0x9100})
_MPLS: Final = frozenset({0x8847, 0x8848})
_PPPOE: Final = 0x8864
_BRIDGED: Final = 0x6558  # an Ethernet frame, in GRE and GENEVE
_ERSPAN: Final = 0x88BE
_ERSPAN_3: Final = 0x22EB
_GRE_PPP: Final = 0x880B
_BETWEEN: Final = _VLAN | _MPLS | {_PPPOE, _BRIDGED, _ERSPAN, _ERSPAN_3}
_PPP_KINDS: Final = {0x0021: IPV4, 0x0057: IPV6, 0x0281: 0x8847}

_CLOSED_KINDS: Final = {0x88E5: "MACsec", 0x88E7: "provider backbone bridging", 0x894F: "NSH", 0x22F3: "TRILL"}
_CLOSED_PROTOCOLS: Final = {_ESP: "IPsec ESP", _L2TP: "L2TP"}
_CLOSED_PORTS: Final = {
    500: "IPsec",
    1194: "OpenVPN",
    1701: "L2TP",
    2152: "GTP-U",
    3544: "Teredo",
    4500: "IPsec ESP",
    37008: "TZSP",
    51820: "WireGuard",
}
_VXLAN_PORTS: Final = (4789, 8472)
_VXLAN_GPE_PORT: Final = 4790
_GENEVE_PORT: Final = 6081
_GRE_PORT: Final = 4754
_MPLS_PORT: Final = 6635
_GPE_KINDS: Final = {1: IPV4, 2: IPV6, 3: _BRIDGED, 5: 0x8847}


def network(link_type: int, data: bytes) -> Step:
    """What the link layer carries; UNKNOWN_LINK for a link type that cannot be read. Raises
    IndexError for a packet that is too short."""
    start = 0
    if link_type in _PKTAP:
        start = int.from_bytes(data[0:4], "little")
        link_type = int.from_bytes(data[8:12], "little")
        if start < 12 or link_type in _PKTAP:
            return NOTHING, 0
    if link_type == _ETHERNET:
        kind, start = _frame(data, start)
    elif link_type == _COOKED:
        kind, start = _word(data, start + 14), start + 16
    elif link_type == _COOKED_2:
        kind, start = _word(data, start), start + 20
    elif link_type in _RAW:
        kind = {4: IPV4, 6: IPV6}.get(data[start] >> 4, NOTHING)
    elif link_type in (_NULL, _LOOP):
        # LOOP has the family in network byte order, NULL in that of the capturing host. No family's
        # number is valid in both.
        family = data[start : start + 4]
        kind = _FAMILIES.get(int.from_bytes(family, "big"), _FAMILIES.get(int.from_bytes(family, "little"), NOTHING))
        start += 4
    elif link_type == _IPV4_ONLY:
        kind = IPV4
    elif link_type == _IPV6_ONLY:
        kind = IPV6
    elif link_type in (_PPP, _PPP_HDLC):
        kind, start = _ppp(data, start)
    elif link_type == _PPPOE_LINK:
        kind = _PPPOE
    elif link_type == _MPLS_LINK:
        kind = 0x8847
    else:
        return UNKNOWN_LINK, 0
    return _to_ip(kind, data, start)


def inside(protocol: int, data: bytes, start: int) -> Step:
    """What an IP packet of that protocol, one of TUNNELS, carries from `start` on. Raises
    IndexError for a packet that is too short."""
    if protocol == UDP:
        return _udp(data, start)
    if protocol == _IP_IN_IP:
        return IPV4, start
    if protocol == _IPV6_IN_IP:
        return IPV6, start
    if protocol == _GRE:
        return _gre(data, start)
    if protocol == _MPLS_IN_IP:
        return _to_ip(0x8847, data, start)
    if protocol == _AH:
        following, start = data[start], start + data[start + 1] * 4 + 8
        if following == TCP:
            return "IPsec AH", 0
        return inside(following, data, start) if following in TUNNELS - {_AH} else (NOTHING, 0)
    return _CLOSED_PROTOCOLS[protocol], 0


def _to_ip(kind: int, data: bytes, start: int) -> Step:
    """From an EtherType to the IP packet after tags, labels and frames. Each iteration moves on, so
    the loop ends with the packet."""
    while kind in _BETWEEN:
        if kind in _VLAN:
            kind, start = _word(data, start + 2), start + 4
        elif kind == _PPPOE:
            kind, start = _ppp(data, start + 6)
        elif kind in _MPLS:
            kind, start = _labelled(data, start)
        else:
            start += {_BRIDGED: 0, _ERSPAN: 8}.get(kind, 20 if kind == _ERSPAN_3 and data[start + 11] & 1 else 12)
            kind, start = _frame(data, start)
    return (_CLOSED_KINDS[kind], 0) if kind in _CLOSED_KINDS else (kind, start)


def _frame(data: bytes, start: int) -> tuple[int, int]:
    """The type of an Ethernet frame and the start of its contents. A frame with a length instead of
    a type has its type after it (LLC/SNAP)."""
    kind = _word(data, start + 12)
    if kind <= 1500 and data[start + 14 : start + 20] == b"\xaa\xaa\x03\0\0\0":
        return _word(data, start + 20), start + 22
    return kind, start + 14


def _ppp(data: bytes, start: int) -> tuple[int, int]:
    """A PPP frame: optional address and control bytes, then a protocol whose leading zero may be
    left out."""
    if data[start : start + 2] == b"\xff\x03":
        start += 2
    if data[start] & 1:
        return _PPP_KINDS.get(data[start], NOTHING), start + 1
    return _PPP_KINDS.get(_word(data, start), NOTHING), start + 2


def _labelled(data: bytes, start: int) -> tuple[int, int]:
    """The packet after the last MPLS label. Nothing identifies it: it is an IP packet, the control
    word of a pseudowire (0), or an Ethernet frame without one."""
    while not data[start + 2] & 1:
        start += 4
    start += 4
    version = data[start] >> 4
    if version in (4, 6):
        return (IPV4 if version == 4 else IPV6), start
    return _BRIDGED, start + (4 if version == 0 else 0)


def _gre(data: bytes, start: int) -> Step:
    flags, kind = _word(data, start), _word(data, start + 2)
    version = flags & 7
    if version > 1:
        return f"GRE version {version}", 0
    size = (
        4
        + (4 if flags & 0xC000 else 0)
        + (4 if flags & 0x2000 else 0)
        + (4 if flags & 0x1000 else 0)
        + (4 if version and flags & 0x80 else 0)
    )
    start += size
    if kind == _GRE_PPP:
        kind, start = _ppp(data, start)
        return _to_ip(kind, data, start)
    if kind == _ERSPAN and not flags & 0x1000:  # type I has no header of its own
        kind = _BRIDGED
    if kind in (IPV4, IPV6) or kind in _BETWEEN or kind in _CLOSED_KINDS:
        return _to_ip(kind, data, start)
    return f"GRE of type {kind:#06x}", 0


def _udp(data: bytes, start: int) -> Step:
    ports = (_word(data, start), _word(data, start + 2))
    start += 8
    if ports[1] == _GENEVE_PORT:
        kind = _word(data, start + 2)
        start += 8 + (data[start] & 63) * 4
        return _to_ip(kind, data, start) if kind in (IPV4, IPV6, _BRIDGED) else ("GENEVE", 0)
    if ports[1] == _VXLAN_GPE_PORT:
        kind = _GPE_KINDS.get(data[start + 3], NOTHING) if data[start] & 4 else _BRIDGED
        return _to_ip(kind, data, start + 8) if kind else ("VXLAN-GPE", 0)
    if ports[1] in _VXLAN_PORTS or _is_vxlan(data, start):
        return _to_ip(_BRIDGED, data, start + 8) if data[start] & 8 else ("VXLAN", 0)
    if ports[1] == _GRE_PORT:
        return _gre(data, start)
    if ports[1] == _MPLS_PORT:
        return _to_ip(0x8847, data, start)
    name = _CLOSED_PORTS.get(ports[1]) or _CLOSED_PORTS.get(ports[0])
    return (name, 0) if name else (NOTHING, 0)


def _is_vxlan(data: bytes, start: int) -> bool:
    """Whether the bytes can hardly be anything else: exactly one flag, zeros in reserved places,
    and a frame with IP after them."""
    if data[start : start + 4] != b"\x08\0\0\0" or len(data) < start + 23 or data[start + 7]:
        return False
    kind, first = _word(data, start + 20), data[start + 22]
    return (kind, first >> 4) in ((IPV4, 4), (IPV6, 6)) or kind in _VLAN


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
