"""Every message of the protocol: layouts, names, value types. It knows no sockets, no time and no
history."""
