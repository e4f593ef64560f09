"""Captures: what the recorder saw, stored as it was seen.

- record.py: the records; blocks.py, versions.py, checksums.py: the file around them.
- writer.py, segments.py: write; reader.py, streamed.py: read and follow.
- redact.py: keeps the protocol's secrets out; hiding.py, contents.py: what else is left out on
  request, redacted.py: the same in a copy; peer.py: the process at the driver's end.
- importing.py, inputs.py: other files become captures. pcap.py is the way of packets: packets.py,
  pieces.py, order.py, links.py, ip.py, fragments.py, conversations.py, tcp.py, tls/, followed.py.
  jsonl/ and golden.py are the ways of text.

docs/captures.md describes the format for everybody else. This layer knows bytes, times and
connections. What they mean is the business of the packages above.
"""
