"""Replays the drivers' side of a recording against a real server.

    outcome     before and after: new errors, statements by latency, differences in words
    running     connections as they were recorded, in one event loop; the only sockets
    player      one connection without I/O: what to send next, and what it waits for
    plan        a recorded connection as units, each up to a flush point

Each imports only those below it. A Recorder in between records what passes.
"""
