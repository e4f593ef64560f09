"""Every message of the protocol: layouts, names, value types. This package knows nothing of
sockets, time or history.

- frontend.py, backend.py, authentication.py, startup.py: the messages, one class each; message.py:
  what a message class is; registry.py: from bytes to messages.
- primitives.py, bodies.py: the constructs that bodies are built from; fields.py: the fields of
  ErrorResponse and NoticeResponse.
- codes.py: numbers and names; answers.py: which message answers which; heads.py: the parts of
  bodies that the reading path needs.
- copy_rows.py, copy_binary.py: where the rows of a COPY end.
- values/: values as the server prints them; replication/: the messages inside CopyData on a
  replication connection; pqtrace/: libpq's own trace format.
"""
