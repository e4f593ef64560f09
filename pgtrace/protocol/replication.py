"""What travels inside CopyData while a replication connection is in copy-both mode.

XLogData, the primary's keepalive, the standby's status update and hot standby feedback, and the messages of a base backup are declared here: each is
a layout of its own behind one byte at the beginning of a CopyData, and none of them changes how messages are framed or round trips counted.

Source: PostgreSQL manual, "Streaming Replication Protocol" and "Logical Replication Message Formats".
"""
