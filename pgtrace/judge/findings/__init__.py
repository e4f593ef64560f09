"""Findings: something in a capture that costs round trips or will fail, with the evidence and the remedy in the driver's own settings.

One module for each kind (two where one rule has two faces); a new kind is a module, a line here, and a section of docs/findings.md. What a kind is made of
says kind.py; who reads rows and asks the watches, judge/advice.py. The list below is the order among equals, and the first of several kinds that a row
belongs to is the one the row is shown with.
"""

from __future__ import annotations

from typing import Final

from pgtrace.judge.findings import (
    aborted_transaction,
    connecting,
    extra_describe,
    idle_in_transaction,
    lone_transaction,
    n_plus_one,
    pipeline_error,
    pool,
    pooler,
    prepared_leak,
    prepared_once,
    reparse,
    split_unnamed,
    tls_refused,
)
from pgtrace.judge.findings.kind import Kind

KINDS: Final[tuple[Kind, ...]] = (
    pooler.LOST,
    pooler.TAKEN,
    pipeline_error.KIND,
    aborted_transaction.KIND,
    tls_refused.KIND,
    n_plus_one.KIND,
    extra_describe.KIND,
    prepared_once.KIND,
    pool.KIND,
    lone_transaction.KIND,
    connecting.KIND,
    prepared_leak.KIND,
    idle_in_transaction.KIND,
    split_unnamed.KIND,
    reparse.KIND,
)
