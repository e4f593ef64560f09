"""Work that takes time, in its own thread, while the screen stays responsive.

A thread gets everything it needs when it begins, and touches no widget. Its result is passed to the
screen's loop, where an error (PgTraceError, OSError) becomes one line in the footer. The threads
are daemons: quitting does not wait for a server that does not answer.
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
    """A thread has finished: take its result."""

    def __init__(self, take: Callable[[], None]) -> None:
        super().__init__()
        self.take = take


def begin(owner: Widget, work: Callable[[], _Result], then: Callable[[_Result], None], refused: Callable[[str], None]) -> None:
    """Do the work in a thread. Then call `then` with its result, or `refused` with the reason, in
    the loop of `owner`, which gets a Finished."""

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
