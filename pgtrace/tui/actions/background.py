"""Work that takes its time, in a thread of its own: the screen goes on meanwhile.

A thread gets what it needs when it begins and touches no widget. What comes of it is handed back within the loop of the screen, where a refusal (PgTraceError,
an OSError) is one line in the footer. The threads are daemons: whoever quits does not wait for a server that does not answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from textual.message import Message
from textual.widget import Widget

from pgtrace.errors import PgTraceError

_Result = TypeVar("_Result")


class Finished(Message):
    """What a thread made is to be taken."""

    def __init__(self, take: Callable[[], None]) -> None:
        super().__init__()
        self.take = take


def begin(owner: Widget, work: Callable[[], _Result], then: Callable[[_Result], None], refused: Callable[[str], None]) -> None:
    """Do the work in a thread, then let `then` take what it gave, or `refused` take why it did not, in the loop of `owner`, which gets a Finished."""

    def run() -> None:
        try:
            result = work()
        except PgTraceError as error:
            reason = str(error)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        else:
            owner.post_message(Finished(lambda: then(result)))
            return
        owner.post_message(Finished(lambda: refused(reason)))

    threading.Thread(target=run, name="background", daemon=True).start()
