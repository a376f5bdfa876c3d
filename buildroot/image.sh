#!/usr/bin/env bash
# Builds the image of a board: `make image BOARD=pc_x86_64` calls this.
#
#   BUILDROOT_DIR=DIR    an unpacked Buildroot release; else the pinned one is fetched
#   BUILDROOT_ARGS=…     further arguments for Buildroot's make, such as BR2_DL_DIR=/srv/dl
#   LEGAL=0              without the licences and the list of parts
#   KEYS=DIR             the signing keys (docs/box.md); else development keys are made
set -euo pipefail
cd "$(dirname "$0")/.."
project=$PWD

say() { printf 'image: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

board=${1:-}
[ -f "buildroot/configs/backrow_${board}_defconfig" ] || {
  boards=$(cd buildroot/configs && printf '%s ' backrow_*_defconfig | sed 's/backrow_//g; s/_defconfig//g')
  fail "which board? BOARD= one of: $boards"
}

# shellcheck source=buildroot/VERSION
. buildroot/VERSION
tree=${BUILDROOT_DIR:-}
if [ -z "$tree" ]; then
  tree=$project/target/buildroot-$RELEASE
  if [ ! -d "$tree" ]; then
    say "fetching Buildroot $RELEASE"
    rm -rf "$tree.part"
    git clone --quiet --depth 1 --branch "$RELEASE" "$REPOSITORY" "$tree.part"
    mv "$tree.part" "$tree"
  fi
  got=$(git -C "$tree" rev-parse HEAD)
  [ "$got" = "$COMMIT" ] \
    || fail "$tree is at $got, but buildroot/VERSION says $COMMIT: remove it and try again"
fi
grep -q "^export BR2_VERSION := $RELEASE" "$tree/Makefile" \
  || say "warning: $tree is not Buildroot $RELEASE, which is what this is made for"

output=$project/target/image/$board
mkdir -p "$output"
# shellcheck disable=SC2086 # several arguments in one variable
buildroot() { make -C "$tree" O="$output" BR2_EXTERNAL="$project/buildroot" ${BUILDROOT_ARGS:-} "$@"; }

# Our programs are built anew whenever their sources have changed.
sum=$(cat target/dist/backrow-*.tar.gz.sha256)
if [ "$(cat "$output/.sources" 2>/dev/null)" != "$sum" ]; then
  rm -rf "$output"/build/backrow-collector-* "$output"/build/buildroot-fs
  printf '%s\n' "$sum" >"$output/.sources"
fi

buildroot "backrow_${board}_defconfig"
buildroot

if [ "${LEGAL:-1}" = 1 ]; then
  say "collecting the licences and the list of parts"
  buildroot legal-info >"$output/legal-info.log" 2>&1 || fail "legal-info failed: see $output/legal-info.log"
  tar -C "$output" -cJf "$output/images/legal-info.tar.xz" legal-info
  buildroot -s --no-print-directory show-info >"$output/show-info.json"
  "$tree/utils/generate-cyclonedx" --in-file "$output/show-info.json" --out-file "$output/images/sbom.cdx.json" \
    || fail "no list of parts (SBOM): generate-cyclonedx needs the Internet once; LEGAL=0 does without"
fi
say "done: $output/images"
ls -l "$output/images" >&2
