"""`E`: the plan of the statement under the cursor; pressed again, the plan of running it
(explaining.py)."""

from __future__ import annotations

import time

from pgtrace.inspect.details import NOT_KEPT, NotKept
from pgtrace.inspect.executed import executed
from pgtrace.tui.actions import background, explaining
from pgtrace.tui.areas import Areas
from pgtrace.tui.model import rowtext
from pgtrace.tui.widgets.sheet import Page, TextPage


class Plans:
    """Explains statements. Anything that could do harm must be confirmed with the same key, on the
    same statement, within a few moments.
    """

    def __init__(self, areas: Areas) -> None:
        self._areas = areas
        # a row and execution, and the page with their plan
        self._explained: tuple[tuple[int, int], Page] | None = None
        # the row and execution that a question is about, its deadline (monotonic), and its text
        self._question: tuple[tuple[int, int], float, str] | None = None

    def explain(self) -> None:
        """Explain the statement under the cursor, or run the one whose plan is on display."""
        areas = self._areas
        source, item = areas.view.source, areas.timeline.item
        if not source.explain_dsn:
            areas.show_notice(explaining.HOW)
            return
        if item is None:
            return
        message = areas.inspector.messages.message if areas.inspecting and not areas.sheet.display else None
        explained, page = self._explained or (None, None)
        analyze = explained is not None and areas.sheet.page is page
        place, execution = what = (
            explained if explained is not None and analyze else (item.place, message.execution if message is not None else 0)
        )
        sure = self._is_confirmed(what)
        if analyze and not sure:
            self._ask(what, explaining.RUNS)
            return
        try:
            statements = [one for one in executed(areas.view.trace, place, execution or None) if one.sql is not None]
        except NotKept:
            areas.show_notice(NOT_KEPT)
            return
        if not statements:
            areas.show_notice("there is no statement here whose SQL is known")
            return
        one = statements[0]
        areas.show_notice("EXPLAIN ANALYZE is running" if analyze else "EXPLAIN is running")

        def work() -> list[str] | explaining.Unsure:
            try:
                return explaining.explain(source.explain_dsn, one, analyze=analyze, sure=sure or source.throwaway)
            except explaining.Unsure as question:
                return question

        def done(plan: list[str] | explaining.Unsure) -> None:
            if isinstance(plan, explaining.Unsure):
                self._ask(what, rowtext.plain(str(plan), max(1, areas.width - 2)))
                return
            more = f" · execution {one.execution} of several" if len(statements) > 1 else ""
            name = "EXPLAIN ANALYZE" if analyze else "EXPLAIN" if one.parameters is not None else "EXPLAIN for any parameters"
            shown = TextPage(f"{name}{more} · {rowtext.plain(one.sql or '', 80)}", "plan", plan, (("E", "run it: ANALYZE"),))
            self._explained = (place, one.execution), shown
            areas.footer.forget()
            areas.show_page(shown)

        background.begin(areas.screen, work, done, areas.refuse)

    def _ask(self, what: tuple[int, int], question: str) -> None:
        self._question = what, time.monotonic() + explaining.CONSENT_S, question
        self._areas.show_notice(question)

    def _is_confirmed(self, what: tuple[int, int]) -> bool:
        """Whether this key confirms the question, which is still on the screen. A question is asked
        once.
        """
        question, self._question = self._question, None
        if question is None:
            return False
        about, until_s, words = question
        return about == what and time.monotonic() <= until_s and words == self._areas.footer.notice
