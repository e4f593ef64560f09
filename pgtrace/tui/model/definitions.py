"""Definitions of the tables' columns, in the words of docs/counting.md. The help shows the
definition of the column that the user looks at.

That is the column a table is sorted by; in the drivers pane, the row under the cursor.
"""

from __future__ import annotations

from typing import Final

DEFINITIONS: Final[dict[str, dict[str, str]]] = {
    "statements": {
        "rt": "round trips that carry a Parse, Bind, Describe, Execute or Query of the statement; one shared by several counts for each",
        "all ms": "the waits of its executions, summed: from the later of its flush point and the end of the execution before it, "
        "to its last reply",
        "exec": "statements run: an Execute, a statement of a simple Query, a FunctionCall; those skipped after an error do not count",
        "rt/ex": "round trips per execution: 1 is a query that waits once, 3 a driver that waits for Parse and Describe, 0.02 a batch",
        "parse": "Parse messages that carried it, named or not",
        "live": "named preparations of it that were alive when their sessions, or the capture, ended",
        "rows": "DataRow messages of its executions",
        "p50": "the wait that half of its executions did not exceed, within 2 %",
        "p95": "the wait that 95 % of its executions did not exceed, within 2 %",
        "max": "the longest wait of one execution",
        "err": "executions of it that ended in an ErrorResponse",
    },
    "connections": {
        "cn": "connections are numbered from 1 within their file",
        "rt": "round trips after set-up: how often the driver had to wait for the network",
        "live": "named statements alive now, or just before the session ended",
        "err": "ErrorResponse messages",
        "set-up": "round trips that opened before the first ReadyForQuery: encryption, start-up, login",
        "busy": "time in round trips as a share of its time after set-up",
        "age": "from its opening to its end, or to now",
        "in tx": "how long the open transaction has lasted, or had lasted when the connection ended",
        "last": "when the latest byte passed",
    },
    "transactions": {
        "ms": "from the opening of its first round trip to the end of its last",
        "idle": "time between its round trips: the server waits for the application, and holds its locks",
        "idle %": "idle time as a share of the whole",
        "rt": "round trips of the block, the one that began and the one that ended it included",
        "exec": "statements run in it, BEGIN and COMMIT included",
        "err": "ErrorResponse messages in it",
        "time": "when its first round trip opened, from the start of the capture",
    },
    "drivers": {
        "variant": "a way of using the driver: the label of its capture, or a mark that begins with the driver's name",
        "connections": "connections of the driver, sessions and cancels",
        "set-up round trips each": "round trips before the first ReadyForQuery, per connection",
        "round trips": "how often the driver had to wait for the network, after set-up",
        "executions": "statements run: an Execute, a statement of a simple Query, a FunctionCall",
        "wait ms": "time with a flush point open, after set-up, seen from the recorder",
        "round trips / execution": "1 is a query that waits once, 3 a driver that waits for Parse and Describe, 0.02 a batch",
        "pipelined executions": "the sum of depth - 1 over the round trips: executions that did not wait for the one before them",
        "deepest pipeline": "the most Execute, Query and FunctionCall messages of one round trip",
        "transactions": "BEGIN or START TRANSACTION outside a block, by their command tags",
        "Parse named / unnamed": "Parse messages with a statement name, and with the empty one",
        "statements reused": "Binds to a named statement beyond its first that BindComplete answered",
        "statements live": "named statements alive just before their sessions, or the capture, ended",
        "Query": "simple Query messages",
        "Bind / Execute": "Bind messages, Execute messages",
        "Describe / Close": "Describe and Close messages, of statements and of portals",
        "Sync / Flush": "Sync and Flush messages, flush points or not",
        "parameters binary / text": "parameters of Bind and FunctionCall by format, NULLs included",
        "values binary / text": "columns of DataRow messages by format, NULLs included",
        "sent / received bytes": "protocol bytes of each side on the driver's leg, decrypted if the recorder terminates TLS",
        "rows": "DataRow messages",
        "COPY in / out messages": "CopyData messages by direction",
        "errors": "ErrorResponse messages",
        "notices / notifications": "NoticeResponse and NotificationResponse messages",
    },
}
