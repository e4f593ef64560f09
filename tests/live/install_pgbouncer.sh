#!/bin/sh
# PgBouncer 1.24.1 from the source package of Debian 13, built into the directory $1. Takes 12 seconds.
# It needs apt (of any Debian) and a compiler. Nothing is installed: libevent is unpacked here if it is missing.
set -eu
mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
cd "$1"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1)
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >src.list
options="-o Dir::Etc::sourcelist=$PWD/src.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD/cache"
# shellcheck disable=SC2086
apt-get $options update
# shellcheck disable=SC2086
apt-get $options source --download-only pgbouncer
tar xzf pgbouncer_1.24*.orig.tar.gz --strip-components=1
if ! pkg-config --exists libevent 2>/dev/null; then
    (cd cache && apt-get download libevent-dev && dpkg -x libevent-dev_*.deb ../libevent)
    LIBEVENT_LIBS=$(echo "$PWD"/libevent/usr/lib/*/libevent.a)
    LIBEVENT_CFLAGS="-I$PWD/libevent/usr/include $(echo "$PWD"/libevent/usr/include/*-linux-gnu* | sed 's/^/-I/')"
    export LIBEVENT_LIBS LIBEVENT_CFLAGS
fi
./configure --without-openssl --without-cares
make pgbouncer
chmod a+rx pgbouncer
