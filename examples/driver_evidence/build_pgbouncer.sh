#!/usr/bin/env bash
# Build a PgBouncer that has max_prepared_statements (1.21 or later) from Debian's source, into the
# directory $1: Debian 12 has 1.18. It needs apt with a mirror of Debian 13, a C compiler,
# pkg-config and libevent-dev.
set -euo pipefail
into=$(mkdir -p "$1" && cd "$1" && pwd)
[ -x "$into/pgbouncer" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mirror=$(sed -n 's/^URIs: *\(http[^ ]*debian\)\/* *$/\1/p; s/^deb .*\(http[^ ]*debian\) .*/\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s trixie main\n' "${mirror:?no mirror of Debian is configured}" >src.list
mkdir -p lists/partial cache/archives/partial
options=(-o "Dir::Etc::sourcelist=$work/src.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o APT::Sandbox::User=root -qq)
apt-get "${options[@]}" update
apt-get "${options[@]}" source --download-only pgbouncer
tar xzf pgbouncer_*.orig.tar.gz
cd pgbouncer-*/
./configure --without-openssl --without-cares --quiet >configure.log 2>&1
make -j2 pgbouncer >make.log 2>&1
install -m 755 pgbouncer "$into/pgbouncer"
"$into/pgbouncer" --version | head -1
