"""The recorder process: the only sockets of pgtrace.

    __main__   the process: configuration, event loop, signals, the end
    control    requests and answers on the inherited pipes, marks
    server     listening: listening has the sockets, sessions those who are connected, log what is said on stderr
    startup    the driver until there is an upstream; states: its table; refusals: what is answered; encryption: the driver's TLS; narrow: little at a time
    opening    the upstream leg on its way; greeting: the upstream until the first ReadyForQuery
    upstream   a socket to an address; tls: its encryption; cancel: which upstream a CancelRequest belongs to
    relay      the hot path: both legs of a session, back-pressure, half-close, resets
    pauses     which legs are not read, and why
    track      one direction on its way to the tape: its offset, its secrets
    delay      --rtt, and the line in which faults strike
    faults     --fault: what rules do to one connection; book: the rules there are; replies: which message a reply answers
    tape       what passed, bounded, on its way to the writer thread

Bytes are forwarded first, then recorded. Nothing here knows what a message after start-up means; nothing imports this but by starting the process
(pgtrace/recorder.py).
"""
