"""What tshark's dissector counts on the wire and what pgtrace counts from its capture agree,
connection by connection, type by type, byte by byte.

In packets that tcpdump saw on the driver's leg while the demo ran all its variants, and in the
packets that captures are exported as: every recorded one, and one made up of what no driver here
sends. The differences there may be are tables in dissector.py.

tshark and tcpdump are system packages; where they are missing, or this user may not capture, there is no oracle and the test is skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from pgtrace.demo.ports import free_port
from tests.live.dissector import KNOWN_PORT, Stream, dissected, fields, needs_tshark
from tests.live.packet_recording import tcpdump
from tests.playbook import write

pytestmark = needs_tshark

CAPTURES = Path(__file__).parents[2] / "captures"
FILES = sorted(CAPTURES.glob("*/*.pgtrace"))


def pgtrace(*arguments: str) -> str:
    """What a command prints, run as from a shell without a terminal."""
    command = [sys.executable, "-m", "pgtrace", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout


def test_tshark_and_pgtrace_agree_on_the_demo(tmp_path: Path) -> None:
    packets, capture, port = tmp_path / "demo.pcap", tmp_path / "demo.pgtrace", free_port()
    with tcpdump(packets, port):
        pgtrace("demo", f"127.0.0.1:{port}", "-w", str(capture))
    streams = {stream.client: stream for stream in dissected(packets, tmp_path, port)}
    stats = json.loads(pgtrace("stats", "--json", str(capture)))
    connections = {about["client"].rpartition(":")[2]: about for about in stats["connections"]}
    assert connections.keys() == streams.keys()
    assert len(connections) == 6
    messages = sum(streams[client].compare(about, about["driver"]) for client, about in connections.items())
    assert messages == sum(sum(stats["totals"][f"{side}_messages"].values()) for side in ("frontend", "backend"))
    print(f"tshark and pgtrace agree on {messages} messages of {len(connections)} connections")


def test_tshark_and_pgtrace_agree_on_every_capture(tmp_path: Path) -> None:
    """All of them exported into one file, each an interface of it; and it finds nothing odd in the packets themselves."""
    packets = tmp_path / "all.pcapng"
    pgtrace("export", *map(str, FILES), "--to", "pcapng", "-o", str(packets))
    streams: defaultdict[str, list[Stream]] = defaultdict(list)
    for stream in dissected(packets, tmp_path):
        (file,) = (path for path in FILES if f"/{path}".endswith(f"/{stream.interface}"))
        streams[str(file)].append(stream)
    connections = defaultdict(list)
    for about in json.loads(pgtrace("stats", "--json", *map(str, FILES)))["connections"]:
        connections[about["file"]].append(about)
    assert connections.keys() == streams.keys() == set(map(str, FILES))
    messages = 0
    for file, abouts in connections.items():
        for about, stream in zip(sorted(abouts, key=lambda about: about["connection"]), streams[file], strict=True):
            messages += stream.compare(about, f"{file} {about['connection']}")
    print(f"tshark and pgtrace agree on {messages} messages of {len(FILES)} captures")

    wrong = "(tcp.analysis.flags and not tcp.analysis.reused_ports) or tcp.checksum.status != Good or (ip and ip.checksum.status != Good)"
    checked = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
    assert fields(packets, tmp_path, KNOWN_PORT, wanted=wrong, names=("frame.number",), options=checked) == []
    assert len(fields(packets, tmp_path, KNOWN_PORT, wanted="tcp.checksum.status == Good", names=("frame.number",), options=checked)) > 1000


def test_a_port_of_its_own_is_found_with_the_option_that_the_docs_name(tmp_path: Path) -> None:
    capture, packets = CAPTURES / "psycopg" / "failure.pgtrace", tmp_path / "kept.pcapng"
    pgtrace("export", str(capture), "--to", "pcapng", "--keep-port", "-o", str(packets))
    ((port,),) = fields(packets, tmp_path, KNOWN_PORT, wanted="tcp.flags.syn == 1 and tcp.flags.ack == 0", names=("tcp.dstport",))
    assert int(port) != KNOWN_PORT
    (stream,) = dissected(packets, tmp_path, int(port))
    (about,) = json.loads(pgtrace("stats", "--json", str(capture)))["connections"]
    assert stream.compare(about, capture.name) > 40


RARE = """
c1 F GSSENCRequest
c1 B GSSENCRequestReply N
c1 F SSLRequest
c1 B SSLRequestReply N
c1 F StartupMessage protocol=3.2 user=app
c1 B NegotiateProtocolVersion 3.0 _pq_.other
c1 B AuthenticationMD5Password salt
c1 F PasswordMessage md5secret
c1 B AuthenticationOk | BackendKeyData 1 0123456789abcdef | ReadyForQuery I
c1 F FunctionCall 1598
c1 B FunctionCallResponse NULL | ReadyForQuery I
c1 F Query --
c1 B EmptyQueryResponse | NoticeResponse all is well | ReadyForQuery I
c1 F Parse s1 SELECT 1 | Close S s1 | Sync
c1 B ParseComplete | CloseComplete | ReadyForQuery I
c1 F Query COPY item FROM STDIN
c1 B CopyInResponse
c1 F CopyData abc | CopyFail no
c1 B ErrorResponse 57014 no | ReadyForQuery I
c1 F Query START_REPLICATION SLOT one LOGICAL 0/0
c1 B CopyBothResponse | CopyData keep
c1 F CopyData received
c2 F CancelRequest 1 0123456789abcdef
c3 F StartupMessage user=app
c3 B AuthenticationCleartextPassword
c3 F PasswordMessage secret
c3 B ErrorResponse FATAL 28P01 no
c4 fact tls.frontend TLSv1.3
c4 F SSLRequest
c4 B SSLRequestReply S
c4 F StartupMessage user=app
c4 B AuthenticationOk | ReadyForQuery I
end
"""


def test_they_agree_on_what_no_driver_here_sends(tmp_path: Path) -> None:
    """Old passwords, other requests, replication, protocol 3.2; and what is read behind TLS that pgtrace ended."""
    capture, packets = write(tmp_path / "rare.pgtrace", RARE), tmp_path / "rare.pcapng"
    pgtrace("export", str(capture), "--to", "pcapng", "-o", str(packets))
    streams = dissected(packets, tmp_path)
    abouts = json.loads(pgtrace("stats", "--json", str(capture)))["connections"]
    for about, stream in zip(abouts[:3], streams[:3], strict=True):
        assert stream.compare(about, f"connection {about['connection']}")
    assert streams[0].messages["0"]["Unknown"] <= 1
    decrypted = streams[3].messages
    assert decrypted["1"] == {"SSLRequest": 1, "StartupMessage": 1}
    assert decrypted["0"] == {"SSLRequestReply": 1, "AuthenticationOk": 1, "ReadyForQuery": 1}
