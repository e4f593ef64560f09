"""Captures for assistants: `pgtrace mcp`.

`answers.py` has the questions and their bounded answers, without any protocol. `server.py` offers
them through the Model Context Protocol, with its official SDK, on standard input and output.

Nothing is written, and only the files named on the command line are read. Text from the wire is
data: it is made safe to show, and the instructions tell the assistant so.
"""
