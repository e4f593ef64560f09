"""Answers requests in the recorded order.

Each message of the driver is compared with the next recorded request. If they are the same, the
recorded answer is sent; if not, the connection ends with an error, because the server's answer is
not known. Rules, as in the session's machine:

- After an error in an extended query, messages up to the next Sync are discarded. How many a driver
  has sent by then depends on timing, so they are not compared.
- Messages that ask for nothing are not compared, such as a Flush before which nothing is owed.
- CopyData is one stream. After an error in a COPY the rest of it is dropped.
- CopyData of a COPY in both directions (replication) is not compared.
"""

from __future__ import annotations

from collections.abc import Callable

from pgtrace.protocol import heads
from pgtrace.serve.copydata import CopyDifference
from pgtrace.serve.mismatch import Mismatch, mismatch
from pgtrace.serve.replies import Replies
from pgtrace.serve.requests import FLUSH_POINTS, KEPT_BYTES, CopyRun, Idle, Options, Requests
from pgtrace.serve.script import BREAKS, COPY_BOTH, COPY_IN, FAILS, LAST, UNPROMPTED, Script, Step

_COPY = b"dcf"


class InOrder:
    """One driver's connection, and the script that it follows."""

    def __init__(
        self, connection: int, script: Script, replies: Replies, options: Options, on_mismatch: Callable[[Mismatch], None]
    ) -> None:
        self.script = script
        self._connection = connection
        self._replies = replies
        self._options = options
        self._on_mismatch = on_mismatch
        self._requests = Requests(options)
        self._idle = Idle()
        self._names: dict[bytes, bytes] = {}
        self._at = self._passed = 0
        self._difference: CopyDifference | None = None
        self._batch: list[int] = []
        self._copy: CopyRun | None = None
        self._skipping = self._copying = self._copies_both = False

    def begin(self) -> None:
        """Begin after start-up: send what the recorded server sent unprompted."""
        self._unprompted()
        self._replies.flush()

    def take(self, code: int, body: bytes, size: int) -> None:
        """The driver's next message."""
        if self._replies.ended:
            return
        if self._idle.asks_nothing(code, copying=self._copying and not self._copies_both):
            return
        self._batch.append(code)
        if code == ord("d"):
            self._take_copy_data(body, size)
            return
        if self._copy is not None:
            self._end_copy()
            if self._replies.ended:
                return
        if code in _COPY and not self._copying:
            return
        if self._skipping:
            if code != ord("S"):
                self._requests.key(code, body, size)
                return
            self._skipping = False
        step = self._next(code)
        key = self._requests.key(code, body, size)
        if step is None or step.key != key:
            self._report_mismatch(code, body)
            return
        self._learn(step, code, body)
        self._answer(step)
        if code in FLUSH_POINTS:
            self._replies.flush()
            self._batch.clear()

    def _next(self, code: int) -> Step | None:
        """The next recorded request. CopyData that nothing answered is skipped if the driver sent
        something else.
        """
        steps = self.script.steps
        while self._at < len(steps):
            step = steps[self._at]
            if step.code not in _COPY or code in _COPY or step.length:
                return step
            self._pass(step)
            self._unprompted()
        return None

    def _take_copy_data(self, body: bytes, size: int) -> None:
        if self._copies_both or self._skipping or not self._copying:
            return
        if self._copy is None:
            self._copy = CopyRun()
            step = self._next(ord("d"))
            compared = step is not None and step.code == ord("d") and not (self._options.any_values or self._options.blanked)
            self._difference = CopyDifference(self.script, step) if compared and step is not None else None
        step = self._next(ord("d"))
        if step is None or step.code != ord("d") or not step.flags & BREAKS:
            self._add_copy_data(body, size)
            return
        # what led to the recorded error, however it is cut
        size = min(size, 5 + step.size - self._copy.bytes)
        self._add_copy_data(body[: size - 5], size)
        if self._copy.bytes >= step.size:
            self._end_copy()

    def _add_copy_data(self, body: bytes, size: int) -> None:
        assert self._copy is not None
        self._copy.add(body, size)
        if self._difference is not None:
            self._difference.add(body)

    def _end_copy(self) -> None:
        """Compare the driver's copy data after its end, or at a recorded error."""
        assert self._copy is not None
        key, self._copy = self._copy.key(self._options), None
        step = self._next(ord("d"))
        if step is None or step.code != ord("d") or step.key != key:
            self._report_mismatch(ord("d"), b"", self._difference.words() if self._difference is not None else "")
            return
        self._answer(step)
        if step.flags & BREAKS:
            self._copying = False
            self._replies.flush()

    def _answer(self, step: Step) -> None:
        self._pass(step)
        self._replies.answer(self.script, step, self._names)
        flags = step.flags
        if step.code in _COPY and step.code != ord("d"):
            self._copying = self._copies_both = False
        if flags & (COPY_IN | COPY_BOTH):
            self._copying, self._copies_both = True, bool(flags & COPY_BOTH)
            self._replies.flush()
        if flags & FAILS:
            self._skip()
        self._unprompted()
        if flags & LAST or (self._at >= len(self.script.steps) and self.script.closes):
            self._replies.end(reset=self.script.resets)

    def _skip(self) -> None:
        """After an error in an extended query: skip to the next Sync."""
        self._skipping, self._copying = True, False
        self._replies.flush()
        steps = self.script.steps
        while self._at < len(steps) and (step := steps[self._at]).code not in (ord("S"), UNPROMPTED):
            self._pass(step)

    def _pass(self, step: Step) -> None:
        self._at = step.index + 1
        if step.asks:
            self._passed += 1
            self.script.reached = max(self.script.reached, self._passed)

    def _unprompted(self) -> None:
        steps = self.script.steps
        while self._at < len(steps) and not (step := steps[self._at]).asks:
            self._pass(step)
            self._replies.answer(self.script, step, self._names)
            if step.flags & LAST:
                self._replies.end(reset=self.script.resets)
        if self._at >= len(steps) and self.script.closes and (not len(steps) or steps[len(steps) - 1].code == UNPROMPTED):
            self._replies.end(reset=self.script.resets)

    def _learn(self, step: Step, code: int, body: bytes) -> None:
        """Learn this driver's names for the recorded names."""
        if code not in b"PB":
            return
        name = body.partition(b"\0")[0]
        if name and (recorded := self.script.message(step, KEPT_BYTES)[0].partition(b"\0")[0]) != name:
            self._names[recorded] = name

    def _report_mismatch(self, code: int, body: bytes, detail: str = "") -> None:
        found = mismatch(self._connection, self.script, self._at, self._batch, code, body, detail)
        self._on_mismatch(found)
        detail = "\n".join(found.lines()[1:])
        self._replies.fail("FATAL", heads.text(found.where.encode("utf-8", "surrogateescape")), detail, sqlstate=found.sqlstate)
        self._replies.end()
