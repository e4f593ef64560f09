"""Steps of a session in the playbook's language, to put together in any order: what generated sessions are made of."""

from __future__ import annotations

STEPS: list[list[tuple[int, str]]] = [
    [(0, "Query SELECT 1"), (1, "RowDescription a:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I")],
    [(0, "Parse s1 SELECT $1 | Describe S s1 | Flush"), (1, "ParseComplete | ParameterDescription 23 | RowDescription a:23")],
    [(0, "Bind - s1 params=7"), (0, "Execute - | Flush"), (1, "BindComplete | DataRow 7 | CommandComplete SELECT 1")],
    [(0, "Parse - SELECT 2 | Flush | Bind - - | Describe P -"), (1, "ParseComplete"), (0, "Execute - | Sync"),
     (1, "BindComplete | NoData | CommandComplete SELECT 1 | ReadyForQuery I")],
    [(0, "Sync"), (1, "ReadyForQuery I")],
    [(0, "Bind - s1 params=x | Execute - | Flush | Bind - s1 params=y | Execute -"), (1, "BindComplete | ErrorResponse 22P02 wrong"),
     (0, "Query SELECT 3 | Flush"), (0, "Sync"), (1, "ReadyForQuery I")],
    [(0, "Query COPY t FROM STDIN"), (1, "CopyInResponse"), (0, "CopyData a"), (0, "CopyDone"), (1,
    "CommandComplete COPY 1 | ReadyForQuery I")],
    [(0, "Query COPY t FROM STDIN"), (1, "CopyInResponse"), (0, "CopyData a"), (1, "ErrorResponse 22P02 wrong | ReadyForQuery I")],
    [(0, "Query COPY t FROM STDIN"), (1, "CopyInResponse"), (0, "CopyFail no"), (1, "ErrorResponse 57014 no | ReadyForQuery I")],
    [(0, "Parse - COPY t FROM STDIN | Bind - - | Execute - | Sync"), (1, "ParseComplete | BindComplete | CopyInResponse"),
     (0, "CopyData a | CopyDone | Sync"), (1, "CommandComplete COPY 1 | ReadyForQuery I")],
    [(0, "Parse - COPY t FROM STDIN | Bind - - | Execute - | Sync"), (1, "ParseComplete | BindComplete | CopyInResponse"),
     (0, "CopyFail no | Sync"), (1, "ErrorResponse 57014 no | ReadyForQuery I")],
    [(0, "Parse - COPY t FROM STDIN | Bind - - | Execute - | CopyData a | CopyDone | Sync"),
     (1, "ParseComplete | BindComplete | CopyInResponse"), (1, "CommandComplete COPY 1 | ReadyForQuery I")],
    [(0, "Query COPY t TO STDOUT"), (1, "CopyOutResponse | CopyData a | CopyDone | CommandComplete COPY 1"), (1, "ReadyForQuery I")],
    [(0, "Close S s1 | Sync"), (1, "NoticeResponse hello | CloseComplete | ReadyForQuery I")],
    [(0, "Query SELECT 1 | Query SELECT 2"), (1, "CommandComplete SELECT 1 | ReadyForQuery I | CommandComplete SELECT "
        "1"), (1, "ReadyForQuery I")],
]  # fmt: skip


def script(steps: list[int]) -> str:
    return "\n".join(f"{'FB'[side]} {text}" for step in steps for side, text in STEPS[step])
