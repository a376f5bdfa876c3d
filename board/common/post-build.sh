#!/usr/bin/env bash
# Buildroot calls this when the root is complete, before it is made into an image.
#   post-build.sh TARGET_DIR BOARD
set -euo pipefail
# shellcheck source=board/common/image.sh
source "$(dirname "$0")/image.sh"
# shellcheck source=board/common/firmware.sh
source "$(dirname "$0")/firmware.sh"
target=$1
board=$2
keys=$(signing_keys)

# GRUB looks for one name in every slot.
mkdir -p "$target/boot"
for kernel in bzImage Image; do
  if [ -s "$target/boot/$kernel" ]; then mv "$target/boot/$kernel" "$target/boot/kernel"; fi
done

# GRUB's tools come all or none, and RAUC needs one: it tells GRUB which slot is good.
find "$target/usr/bin" "$target/usr/sbin" -name 'grub-*' ! -name grub-editenv -delete
rm -rf "$target"/{share,usr/lib/grub,usr/share/grub,etc/grub.d}

firmware=$target/lib/firmware
if [ -d "$firmware/intel-ucode" ]; then early_microcode "$firmware" "$target/boot/initrd"; fi
if [ -d "$firmware/intel/iwlwifi" ]; then
  find "$target/lib/modules" -name '*.ko' -exec modinfo -F firmware {} + \
    | newest_firmware "$firmware"
fi

complete_root "$target" "$board" "$keys"

# GStreamer's registry, so that no box scans its plugins: the target's own program makes it, in the
# target as its root. For another kind of processor QEMU runs it, if it is there (Debian: qemu-user); it
# starts no other programs then, so one process scans.
registry=usr/lib/backrow/gst-registry.bin
rm -f "$target/$registry"
if [ -x "$target/usr/bin/gst-inspect-1.0" ]; then
  unshare --map-root-user --root="$target" /usr/bin/env GST_REGISTRY="/$registry" \
    /usr/bin/gst-inspect-1.0 > /dev/null 2>&1 ||
    qemu-aarch64 -L "$target" -E GST_REGISTRY="$target/$registry" -E GST_REGISTRY_FORK=no \
      "$target/usr/bin/gst-inspect-1.0" > /dev/null 2>&1 || true
  [ -s "$target/$registry" ] ||
    say "no GStreamer registry: $board's programs do not run here; the box scans at each start of a capture"
fi
