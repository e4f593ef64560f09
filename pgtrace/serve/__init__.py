"""A server that answers drivers from a recording.

    server       the sockets: asyncio, one object for each connection
    session      one driver's connection without I/O: start-up, login, cancel
    inorder      requests answered in the recorded order; anyorder: in any order
    replies      the outputs to one driver, in order
    choice       which recorded connection a driver gets
    mismatch     a difference between recording and driver, in words; copydata: the same for COPY data
    scram        the server's side of SCRAM-SHA-256
    recording    makes scripts from a capture
    script       one recorded connection: its requests, and the bytes that answered each
    requests     what makes two requests the same
    store        the bytes of a recording, in a file without a name

Each imports only those below it. Only server.py knows sockets and time.
"""
