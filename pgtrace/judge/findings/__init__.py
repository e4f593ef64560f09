"""Findings: something in a capture that costs round trips or will fail, with the evidence and the
remedy in the driver's own settings.

Each kind has one module; one module may define several kinds that share a rule. To add a kind, add
a module, a line here, and a section of docs/findings.md. kind.py defines a kind; judge/advice.py
reads rows and calls the watches. The list below sets the order of findings with equal costs. A row
that belongs to several kinds is shown with the first of them.
"""

from __future__ import annotations

from typing import Final

from pgtrace.judge.findings import (
    aborted_transaction,
    begin_commit,
    cache_thrash,
    cached_plan,
    comment_cache,
    connect,
    driver_left,
    driver_overhead,
    extra_describe,
    fetch_size,
    idle_in_transaction,
    introspection,
    keepalive_unanswered,
    n_plus_one,
    no_answer,
    no_effect,
    open_portal,
    pipeline_error,
    pooler_added,
    pooler_wait,
    prepared_leak,
    prepared_once,
    re_parse,
    refused,
    repeat,
    returned_in_transaction,
    server_ended,
    session_state,
    split_unnamed,
    statements_gone,
    tls_refused,
    uncommitted_writes,
    used_after_fatal,
)
from pgtrace.judge.findings.kind import Kind

KINDS: Final[tuple[Kind, ...]] = (
    statements_gone.LOST,
    statements_gone.TAKEN,
    statements_gone.DROPPED,
    statements_gone.GONE,
    cached_plan.KIND,
    pipeline_error.KIND,
    aborted_transaction.KIND,
    refused.KIND,
    tls_refused.KIND,
    server_ended.KIND,
    keepalive_unanswered.KIND,
    driver_left.KIND,
    used_after_fatal.KIND,
    uncommitted_writes.KIND,
    no_answer.KIND,
    returned_in_transaction.KIND,
    no_effect.KIND,
    repeat.KIND,
    n_plus_one.KIND,
    cache_thrash.KIND,
    comment_cache.KIND,
    introspection.KIND,
    fetch_size.KIND,
    extra_describe.KIND,
    prepared_once.KIND,
    driver_overhead.KIND,
    begin_commit.KIND,
    pooler_added.KIND,
    connect.KIND,
    prepared_leak.KIND,
    idle_in_transaction.KIND,
    open_portal.KIND,
    pooler_wait.KIND,
    split_unnamed.KIND,
    session_state.KIND,
    re_parse.KIND,
)
NAMES: Final = {kind.name: kind for kind in KINDS}
FORMER: Final = {"pool-check": "driver-overhead"}
"""Former names of kinds, which --fail-on and baselines still accept."""
