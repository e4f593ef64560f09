"""The recorder process, which owns the only sockets of pgtrace.

Bytes are forwarded first, then recorded. Nothing here interprets a message after start-up. No
module imports this package: recorder.py starts it as a process. Each part below imports only the
parts under it; a contract in pyproject.toml lists every module.

    __main__           the process: configuration, event loop, signals, the end
    control            requests and answers on the inherited pipes; marks
    mark_socket        marks of other processes

    server             accepts drivers
    listening          the sockets it listens on
    sessions           the running sessions, and what can change while they run
    log                what is printed on stderr, each text once

    startup            a driver's socket until the upstream leg is open
    startup_states     the table of states it runs on
    admission          who owns a connection, and how it is served
    driver_processes   which process is at the driver's end
    refusals           the errors that pgtrace itself sends
    driver_tls         the driver's TLS handshake
    small_reads        reads in small pieces until login is over

    upstream_leg       the upstream leg of one session, from an address to an open socket
    upstream           a connection to the first address that answers
    login              the upstream's socket until the first ReadyForQuery
    channel_binding    SCRAM-SHA-256-PLUS: what a driver may be offered
    cancel_keys        which upstream a CancelRequest belongs to
    tls, keylog        TLS settings of both legs; the session keys, if you ask for them

    delay              --rtt, and the line in which faults apply
    faults             --fault: what rules do to one connection
    fault_rules        the rules, and which of them are used up
    replies            which message a reply answers

    relay              the hot path: two legs, half-close, resets
    pauses             which sockets are not read, and why
    direction          one direction on its way to the tape: its offset, its secrets
    tape               what passed, bounded, on its way to the writer thread
    writer_thread      writes it
    callsites          lines of code that a program notes, beside its statements
    kernel             what the kernel knows about a socket
    sock_diag          what the kernel knows about other processes' sockets
"""
