#!/usr/bin/env bash
# Makes updates for the tests out of an image: one that works, one that never gets well, and three that
# are refused before anything of them is written.
#   updates.sh IMAGE OUT      needs root; KEYS=folder: the keys that the image's own updates are signed with
set -euo pipefail
# shellcheck source=board/common/image.sh
source "$(dirname "$0")/../common/image.sh"
image=$1 out=$2
keys=$(signing_keys)
others=$backrow/target/bench/other-keys
development_keys "$others"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/root
start=$(partx --show --noheadings --output START,NAME "$image" 2> /dev/null | awk '$2 == "rootfs-a" { print $1 }') || true
[ -n "$start" ] || { say "$image has no partition rootfs-a: it is no image of the box"; exit 1; }
unsquashfs -quiet -no-progress -offset $((start * 512)) -d "$tree" "$image" > /dev/null
board=$(sed -n 's/^BACKROW_BOARD=//p' "$tree/usr/lib/backrow/image")
cmp -s "$keys/ca.cert.pem" "$tree/etc/rauc/keyring.pem" || {
  say "$image takes no updates signed with $keys: give the keys it was made with as KEYS="
  exit 1
}
rm -rf "$out"
mkdir -p "$out"

# The tree as version $1, signed.
update() {
  BACKROW_VERSION=$1 complete_root "$tree" "$board" "$keys"
  rm -f "$work/next.squashfs"
  mksquashfs "$tree" "$work/next.squashfs" -comp gzip -Xcompression-level 3 -noappend -quiet \
    -no-progress
  make_bundle "$work/next.squashfs" "$board" "$1" "$keys" "$out/$2.raucb"
}
update 0.2.0 good
# Its collector exits at once, so it is never ready.
printf '#!/bin/sh\nexit 1\n' > "$tree/usr/bin/collector"
update 0.3.0 never-healthy

# What is inside does not matter.
head -c 1M /dev/urandom > "$work/refused"
make_bundle "$work/refused" "$board" 0.0.1 "$keys" "$out/older.raucb"
make_bundle "$work/refused" "$board" 0.4.0 "$others" "$out/wrong-key.raucb"
make_bundle "$work/refused" other_board 0.4.0 "$keys" "$out/wrong-compatible.raucb"
