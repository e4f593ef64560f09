"""A server that answers drivers from a recording.

    server       the sockets: asyncio, one object for each connection
    session      one driver's connection without I/O: start-up, login, cancel
    inorder      requests answered in the recorded order; anyorder: in whatever order they come
    replies      what goes to one driver, in order
    choice       which recorded connection a driver gets
    mismatch     what was expected and what came, in words; copydata: the first difference in COPY data
    scram        the server's side of SCRAM-SHA-256
    recording    a capture becomes scripts
    script       one recorded connection: its requests, and the bytes that answered each
    requests     what makes two requests the same
    store        the bytes of a recording, in a file without a name

Each imports only those below it. Only server.py knows sockets and time.
"""
