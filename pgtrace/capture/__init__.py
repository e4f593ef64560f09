"""Captures: what the recorder saw, stored unchanged.

- record.py: the records; blocks.py, versions.py, checksums.py: the file format around them.
- writer.py, segments.py: write; reader.py, streamed.py: read and follow.
- redact.py: keeps the protocol's secrets out; hiding.py, contents.py: leave out more on request;
  redacted.py: the same in a copy; peer.py: the process at the driver's end.
- importing.py, inputs.py: turn other files into captures. pcap.py imports packets, with packets.py,
  pieces.py, order.py, links.py, ip.py, fragments.py, conversations.py, tcp.py, tls/, followed.py.
  jsonl/ and golden.py import text.

docs/captures.md describes the format for readers outside pgtrace. This layer knows bytes, times and
connections. The packages above it interpret them.
"""
