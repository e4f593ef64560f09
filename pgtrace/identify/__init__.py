"""Identifies the driver of a connection, and the layer above it, from evidence on the wire.

- drivers/: one file for each driver; layers/: one for each ORM or wrapper.
- collector.py: gathers the evidence of one connection, for both to look at.
- remedies.py: what a driver or a layer can do about a finding.
"""
