"""Findings: something in a capture that costs round trips or will fail, with the evidence and the
remedy in the driver's own settings.

There is one module for each kind (two if one rule has two sides). A new kind is a module, a line
here, and a section of docs/findings.md. kind.py says what a kind consists of; judge/advice.py reads
rows and asks the watches. The list below is the order among equals. A row that belongs to several
kinds is shown with the first of them.
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
