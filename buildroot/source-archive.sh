#!/usr/bin/env bash
# Packs this tree and every crate it needs into target/dist/backrow-VERSION.tar.gz, so that the box's
# programs are built off line. The same commit gives the same bytes. `make dist` builds the pages first.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'dist: %s\n' "$*" >&2; exit 1; }

[ -d web/dist ] || fail "web/dist is missing: run \`make dist\`, which builds the pages"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=backrow-$version
# The time of the last commit; a tree without git (an unpacked archive) gives its own.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock)}

mkdir -p target/dist
work=$(mktemp -d -p target/dist)
trap 'rm -rf "$work"' EXIT
top=$work/$name
mkdir "$top"

# What the programs are made of: sources as they stand, and the pages, which need Node.js to build.
git ls-files -z --cached --others --exclude-standard -- \
  Cargo.toml Cargo.lock LICENSE clippy.toml deploy firmware tests web \
  | while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done \
  | tar --null --no-recursion --files-from=- -c | tar -x -C "$top"
rm -rf "$top/tests/tests"
mkdir -p "$top/web"
cp -r web/dist "$top/web/dist"

# The crates, and whose they are.
mkdir -p "$top/.cargo"
cargo vendor --quiet --locked --versioned-dirs --manifest-path "$top/Cargo.toml" "$top/VENDOR" >/dev/null
cat >"$top/.cargo/config.toml" <<'CONFIG'
[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "VENDOR"
CONFIG
(cd "$top" && cargo metadata --format-version 1 --locked --offline --filter-platform x86_64-unknown-linux-gnu) \
  | python3 deploy/crates.py >"$top/CRATES.tsv"

archive=target/dist/$name.tar.gz
tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s \
  --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
  -C "$work" -c "$name" | gzip -9n >"$archive.part"
mv "$archive.part" "$archive"
(cd target/dist && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
