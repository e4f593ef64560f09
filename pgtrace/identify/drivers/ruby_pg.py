"""ruby-pg: libpq's start-up packet, with the name of a Ruby program as application_name.

Certain, on libpq's packet:

- application_name if it was not set: $0, the path of the program as it was started (its middle left
  out when it is long), so `app.rb`, `bin/rails`, `-e`;
- the query of PG::BasicTypeRegistry, which type maps ask first, its lines led by tabs;
- the query of types with which ActiveRecord begins: on libpq it has no other driver. (A server
  renames its processes: `puma: cluster worker 0`.)

exec is a Query; exec_params an unnamed `PBDES`, with OID 0 for each parameter; prepare is `PS`
under the caller's name, exec_prepared `BDES`; a pipeline `PBDE×n S`. transaction sends BEGIN,
COMMIT and ROLLBACK. It sends no queries at set-up. With another application_name and without a type
map, it does nothing that other users of libpq do not do, so it stays unknown.

Seen with ruby-pg 1.4.5, libpq 15, ActiveRecord 6.1.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "ruby-pg"
_PROGRAM: Final = re.compile(r"\A-e\Z|\.rb\Z|(?:\A|/)(?:irb|rails|rake|rspec)\Z")
_ACTIVE_RECORD: Final = re.compile(
    r"\ASELECT t\.oid, t\.typname, t\.typelem, t\.typdelim, t\.typinput, r\.rngsubtype, t\.typtype, t\.typbasetype\nFROM pg_type as t\n"
)
_TYPES: Final = re.compile(r"\A\t+SELECT t\.oid, t\.typname, t\.typelem, t\.typdelim, ti\.proname AS typinput\n")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for ruby-pg."""
    if not seen.is_libpq:
        return ()
    found: list[str] = []
    program = dict(seen.startup_parameters).get("application_name", "")
    if _PROGRAM.search(program):
        found.append("application_name is a Ruby program's")
    if first(_TYPES, seen.queries) is not None:
        found.append("the query of its type registry")
    if first(_ACTIVE_RECORD, seen.queries) is not None:
        found.append("ActiveRecord's query of types")
    return (*found, "libpq's start-up packet") if found else ()


REMEDIES: Final = {
    "pooler-26000": (Remedy("exec_params instead of prepare; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("exec_params instead of prepare; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pipeline-error": (
        Remedy("pipeline_sync after each statement that may fail alone"),
        Remedy("INSERT ... ON CONFLICT in the pipeline", needs=("a duplicate",)),
    ),
    "n+1": (Remedy("WHERE column = ANY($1) to read; PG::Connection#enter_pipeline_mode around the loop"),),
    "prepared-once": (Remedy("exec_params, which prepares nothing; or prepare once and exec_prepared often", unless=("pooler",)),),
    "connect": (Remedy("connection_pool; or PgBouncer"),),
    "re-parse": (Remedy("prepare once, exec_prepared often", unless=("pooler",)),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
