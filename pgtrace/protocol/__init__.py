"""Every message of the protocol: layouts, names, value types. It knows no sockets, no time and no
history.

- frontend.py, backend.py, authentication.py, startup.py: the messages, one class each; message.py:
  what such a class is; registry.py: from bytes to messages.
- primitives.py, bodies.py: what bodies are built of; fields.py: those of ErrorResponse.
- codes.py: numbers and names; answers.py: which message answers which; heads.py: what the reading
  path needs of bodies.
- copy_rows.py, copy_binary.py: where the rows of a COPY end.
- values/: values as the server prints them; replication/: what is inside CopyData of replication;
  pqtrace/: libpq's own trace format.
"""
