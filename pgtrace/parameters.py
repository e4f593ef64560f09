"""libpq's connection parameters: the variable of each, and who uses it when pgtrace is between a
program and its server.

    place    where the server is: read for the upstream; `pgtrace run` replaces it in a program's environment
    leg      how the connection to the server is made and protected: used on the upstream leg, or refused by name
    driver   between the program and the server, through whatever is in between: the program keeps it
    none     has no effect here

docs/tls.md has a line for each. The list is that of libpq 18. The tests compare it with the
installed libpq, and fail for a new parameter.

Other programs have their own words for TLS in a URL. TLS_WORDS gives for each the nearest sslmode
that is no weaker. libpq's own words keep libpq's meaning, and `ssl=true` means `require`, as in
libpq.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

DEFAULT_PORT: Final = 5432
LAST_PORT: Final = 65535
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""The values of sslmode, from the weakest to the strictest."""
TLS_WORDS: Final = {
    "true": "require",
    "1": "require",
    "on": "require",
    "yes": "require",
    "no-verify": "require",
    **{mode: mode for mode in SSL_MODES},
}
"""The meaning of other drivers' `ssl=` and `sslmode=` in libpq's words. node-postgres' no-verify
encrypts and trusts any certificate, as `require` does."""
NO_TLS_WORDS: Final = ("", "false", "0", "off", "no", "none")
"""Words that require nothing."""


class Parameter(NamedTuple):
    """One parameter of libpq."""

    variable: str | None
    role: Literal["place", "leg", "driver", "none"]
    is_secret: bool = False


PARAMETERS: Final = {
    "service": Parameter("PGSERVICE", "place"),
    "host": Parameter("PGHOST", "place"),
    "hostaddr": Parameter("PGHOSTADDR", "place"),
    "port": Parameter("PGPORT", "place"),
    "sslmode": Parameter("PGSSLMODE", "leg"),
    "sslnegotiation": Parameter("PGSSLNEGOTIATION", "leg"),
    "sslrootcert": Parameter("PGSSLROOTCERT", "leg"),
    "sslcrl": Parameter("PGSSLCRL", "leg"),
    "sslcrldir": Parameter("PGSSLCRLDIR", "leg"),
    "sslcert": Parameter("PGSSLCERT", "leg"),
    "sslkey": Parameter("PGSSLKEY", "leg"),
    "sslpassword": Parameter(None, "leg", is_secret=True),
    "sslcertmode": Parameter("PGSSLCERTMODE", "leg"),
    "sslsni": Parameter("PGSSLSNI", "leg"),
    "ssl_min_protocol_version": Parameter("PGSSLMINPROTOCOLVERSION", "leg"),
    "ssl_max_protocol_version": Parameter("PGSSLMAXPROTOCOLVERSION", "leg"),
    "sslkeylogfile": Parameter(None, "leg"),
    "requirepeer": Parameter("PGREQUIREPEER", "leg"),
    "gssencmode": Parameter("PGGSSENCMODE", "leg"),
    "channel_binding": Parameter("PGCHANNELBINDING", "leg"),
    "user": Parameter("PGUSER", "driver"),
    "password": Parameter("PGPASSWORD", "driver", is_secret=True),
    "passfile": Parameter("PGPASSFILE", "driver"),
    "dbname": Parameter("PGDATABASE", "driver"),
    "options": Parameter("PGOPTIONS", "driver"),
    "application_name": Parameter("PGAPPNAME", "driver"),
    "fallback_application_name": Parameter(None, "driver"),
    "client_encoding": Parameter("PGCLIENTENCODING", "driver"),
    "replication": Parameter(None, "driver"),
    "require_auth": Parameter("PGREQUIREAUTH", "driver"),
    "scram_client_key": Parameter(None, "driver", is_secret=True),
    "scram_server_key": Parameter(None, "driver", is_secret=True),
    "krbsrvname": Parameter("PGKRBSRVNAME", "driver"),
    "gsslib": Parameter("PGGSSLIB", "driver"),
    "gssdelegation": Parameter("PGGSSDELEGATION", "driver"),
    "oauth_issuer": Parameter(None, "driver"),
    "oauth_client_id": Parameter(None, "driver"),
    "oauth_client_secret": Parameter(None, "driver", is_secret=True),
    "oauth_scope": Parameter(None, "driver"),
    "min_protocol_version": Parameter("PGMINPROTOCOLVERSION", "driver"),
    "max_protocol_version": Parameter("PGMAXPROTOCOLVERSION", "driver"),
    "target_session_attrs": Parameter("PGTARGETSESSIONATTRS", "driver"),
    "connect_timeout": Parameter("PGCONNECT_TIMEOUT", "driver"),
    "load_balance_hosts": Parameter("PGLOADBALANCEHOSTS", "none"),
    "keepalives": Parameter(None, "none"),
    "keepalives_idle": Parameter(None, "none"),
    "keepalives_interval": Parameter(None, "none"),
    "keepalives_count": Parameter(None, "none"),
    "tcp_user_timeout": Parameter(None, "none"),
    "sslcompression": Parameter("PGSSLCOMPRESSION", "none"),
}
PLACE: Final = frozenset(key for key, one in PARAMETERS.items() if one.role == "place")
LEG: Final = frozenset(key for key, one in PARAMETERS.items() if one.role == "leg")
SECRETS: Final = frozenset(key for key, one in PARAMETERS.items() if one.is_secret)
