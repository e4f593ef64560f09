"""Messages in a few words, without a trace: flights, arguments, and the contents of CopyData.

- notation.py: flight notation, in letters and in words.
- arguments.py: the main argument of a message.
- copy_contents.py, copy_messages.py: the contents of CopyData after a copy response, and one such
  message.
- introspection.py: what a driver's own query for types says about them.
"""
