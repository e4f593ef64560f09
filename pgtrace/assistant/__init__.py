"""Captures for assistants: `pgtrace mcp`.

`answers.py` has the questions and their bounded answers, without any protocol; `server.py` offers
them by the Model Context Protocol, with its official SDK, on standard input and output.

Nothing is written and no file is read but those named on the command line. What comes from the wire
is data: it is made safe to show, and the instructions say so to the reader.
"""
