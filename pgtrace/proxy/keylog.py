"""The keys of TLS sessions in a file, as browsers, curl and libpq write them, so that Wireshark can
read what tcpdump saw.

With the file, anyone can read every login that was recorded on the way. So it is created with mode
0600, whatever the umask is. An existing file that belongs to another user, or that others can read
or write, is refused, because OpenSSL would simply append to it. A device has nothing to hide
(/dev/null). A pipe has to follow the same rules, and something must already read it, because we
cannot wait for a reader. We write to the very file that we checked, even if another file takes its
name in the meantime.
"""

from __future__ import annotations

import errno
import os
import ssl
import stat

from pgtrace.errors import AddressError


def log_keys(context: ssl.SSLContext, named: str | None = None) -> None:
    """Make the context log its keys to `named`, or otherwise to SSLKEYLOGFILE. Raises AddressError
    if that file is not safe."""
    path = named or os.environ.get("SSLKEYLOGFILE")
    if not path:
        return
    variable = "sslkeylogfile" if named else "SSLKEYLOGFILE"
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            if reason := _exposed(os.fstat(file)):
                raise AddressError(path, f"{variable} {reason}")
            context.keylog_filename = f"/dev/fd/{file}"
        finally:
            os.close(file)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise AddressError(path, f"{variable} is a pipe that nobody reads: start its reader first") from None
        raise AddressError(path, f"{variable} cannot be written: {error.strerror or error}") from None


def _exposed(found: os.stat_result) -> str:
    """Why others could read what is written to the file; empty if they cannot."""
    if stat.S_ISCHR(found.st_mode):
        return ""
    if found.st_uid != os.geteuid():
        return "belongs to another user, who could read the logins with it: name a file of your own"
    if found.st_mode & 0o077:
        return (
            f"can be opened by others (mode {stat.S_IMODE(found.st_mode):04o}), who could read the logins with it: chmod 600, "
            f"or name another"
        )
    return ""
