"""The settings of an address, a connection service and the environment, combined by libpq's rules.

A setting is taken from the address, otherwise from the service (`service=` in the address,
otherwise PGSERVICE), otherwise from its variable. `host`, `hostaddr` and `port` are lists separated
by commas: hosts are tried in order, names and addresses are paired, and one port applies to all.

- Service files are PGSERVICEFILE or `~/.pg_service.conf`, then `pg_service.conf` in PGSYSCONFDIR.
  The first section with the name counts, and in it the first line for each key; there are no spaces
  around `=`. An unknown key is refused, as in libpq.
- An empty variable counts as unset.

target_session_attrs is for the driver: whether a server is primary or standby is known only after
authentication, in which pgtrace takes no part.

Source: libpq 18, fe-connect.c (parseServiceFile, conninfo_add_defaults, pqConnectOptions2); the
tests compare with libpq itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from pgtrace.conninfo import BLANKS, Address, read, unknown
from pgtrace.errors import AddressError
from pgtrace.parameters import LEG, PARAMETERS, PLACE
from pgtrace.settingsfile import text_of

VARIABLES: Final = {key: one.variable for key, one in PARAMETERS.items() if key in (PLACE | LEG) - {"service"} and one.variable}
"""Settings that say where a server is and how to reach it safely, with their variables."""


class Settings(dict[str, str]):
    """Settings by libpq's names, and the name under which the user gave each: a parameter or a
    variable."""

    def __init__(self, values: Mapping[str, str] = {}) -> None:
        super().__init__(values)
        self._variables: dict[str, str] = {}

    def add(self, key: str, value: str, variable: str) -> None:
        """Add a variable's value if the setting has none yet."""
        if key not in self:
            self[key] = value
            self._variables[key] = variable

    def name(self, key: str) -> str:
        """The name under which the user gave this setting."""
        return self._variables.get(key, key)


def settings(address: Address | str | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the address, its service and VARIABLES, combined. Raises AddressError."""
    if isinstance(address, str):
        address = read(address)
    found = Settings(address.everything if address is not None else {})
    service = found.get("service", environ.get("PGSERVICE", ""))
    if service:
        for key, value in service_settings(service, environ).items():
            found.setdefault(key, value)
    for key, name in VARIABLES.items():
        if environ.get(name):
            found.add(key, environ[name], name)
    if environ.get("PGREQUIRESSL", "").startswith("1"):
        found.add("sslmode", "require", "PGREQUIRESSL")
    if found.get("sslrootcert") == "system":
        found.setdefault("sslmode", "verify-full")
    return found


def service_settings(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """All settings of a connection service. Raises AddressError if no file defines it."""
    files = [environ.get("PGSERVICEFILE") or os.path.join(home(environ), ".pg_service.conf")]
    if environ.get("PGSYSCONFDIR"):
        files.append(os.path.join(environ["PGSYSCONFDIR"], "pg_service.conf"))
    for file in files:
        try:
            text = text_of(file, "surrogateescape")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and file != environ.get("PGSERVICEFILE"):
                continue
            raise AddressError(service, f"the service file {file} cannot be read: {error.strerror}") from None
        found = _section(service, file, text)
        if found is not None:
            return found
    raise AddressError(service, f"no such service in {' or '.join(files)} (PGSERVICE, or service= in a URL)")


def several(text: str) -> list[str]:
    """The elements of a list separated by commas; an empty text has none."""
    return text.split(",") if text else []


def home(environ: Mapping[str, str]) -> str:
    """The home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def _section(service: str, file: str, text: str) -> dict[str, str] | None:
    """The first section with this name; None if there is none."""
    found: dict[str, str] | None = None
    before = ""
    for number, line in _lines(text):
        if line.startswith("["):
            if found is not None:
                break
            if line.startswith(f"[{service}]"):
                found = {}
        elif found is not None:
            key, equals, value = line.partition("=")
            if not equals or key in ("service", "servicefile"):
                raise AddressError(service, f"line {number} of the service file {file} is not a setting")
            if key not in PARAMETERS:
                raise AddressError(service, f"{unknown(key, before, f'in line {number} of the service file {file}').reason}")
            found.setdefault(key, value)
            before = key
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(BLANKS)
        if line and not line.startswith("#"):
            yield number, line
