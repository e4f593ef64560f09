"""Captures from packets: pcap and pcapng files of tcpdump and Wireshark, TCP streams put together again, turned into records.

The room for it; nothing reads packets yet. What comes out of here goes through capture/redact.py like everything else and is written by
capture/writer.py, so that the rest of pgtrace never learns where a capture came from.
"""
