#!/usr/bin/env bash
# Build the image and run it, where there is neither Docker nor an image to start from: buildah without a daemon, on a base that
# debootstrap makes of this distribution. Needs root, buildah and debootstrap. `make image` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
store=(--root "$work/images" --runroot "$work/run")
trap 'buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "== a base of $codename"
debootstrap --variant=minbase --include=python3,python3-venv "$codename" "$work/base" >"$work/debootstrap.log" ||
    { tail -5 "$work/debootstrap.log"; exit 1; }
container=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" add -q "$container" "$work/base" / >/dev/null
buildah "${store[@]}" commit -q "$container" base >/dev/null

echo "== the image"
mkdir "$work/context"
git ls-files -z pgtrace release hatch_build.py pyproject.toml README.md LICENSE Dockerfile .dockerignore | xargs -0 cp --parents -t "$work/context"
.venv/bin/python -m pip wheel -q --disable-pip-version-check -w "$work/context/wheels" .
buildah "${store[@]}" build -q --pull=never --build-arg BASE=localhost/base -t pgtrace "$work/context" >/dev/null

echo "== what is in it"
container=$(buildah "${store[@]}" from --pull=never localhost/pgtrace)
inside() { buildah "${store[@]}" run "$container" -- "$@"; }
inside pgtrace --version
[ "$(inside id -u)" = 10001 ]
inside pgtrace run --help | grep -q "Run a program"
if inside touch /opt/pgtrace/x 2>/dev/null; then echo "the image can be written to"; exit 1; fi
inside sh -c 'touch /captures/x && rm /captures/x'
[ "$(buildah "${store[@]}" inspect --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' "$container")" = "10001 [pgtrace]" ]
buildah "${store[@]}" images --format '{{.Name}} {{.Size}}'
