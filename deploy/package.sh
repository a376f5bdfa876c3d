#!/usr/bin/env bash
# Puts the programs into Debian packages, in target/dist: `make dist` calls this.
#   BIN=DIR   programs that are built already; else they are built, in release mode
#   OUT=DIR   where the packages go; default: target/dist
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# Between releases each commit is newer than the last, and older than the next release's.
if [ "$(git describe --tags --exact-match 2>/dev/null)" != "v$version" ]; then
  version=$version~$(git rev-list --count HEAD 2>/dev/null || echo 0)
fi
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}"
export SOURCE_DATE_EPOCH

bin=${BIN:-target/release}
[ -n "${BIN:-}" ] || cargo build --release --locked --bin encoder --bin collector --bin backrow

out=${OUT:-target/dist}
mkdir -p "$out"
work=$(mktemp -d -p "$out")
trap 'rm -rf "$work"' EXIT
tree=$work/backrow
mkdir -p "$tree/bin"
cp -r deploy/debian "$tree/debian"
install -s "$bin/backrow" "$tree/bin/backrow"
for daemon in encoder collector; do install -s "$bin/$daemon" "$tree/bin/backrow-$daemon"; done
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" \
  | python3 deploy/crates.py >"$tree/CRATES.tsv"
cat >"$tree/debian/changelog" <<CHANGELOG
backrow ($version) unstable; urgency=medium

  * What has changed: see the history of the sources.

 -- Backrow <backrow@localhost>  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
CHANGELOG
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign) >"$work/log" 2>&1 \
  || { cat "$work/log" >&2; exit 1; }
rm -f "$out"/*.deb
mv "$work"/*.deb "$out"
ls -l "$out"/*.deb
