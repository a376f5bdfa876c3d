#!/usr/bin/env bash
# Buildroot calls this when the root's image is made: the disk, the update bundle, their sums.
#   post-image.sh BINARIES_DIR BOARD
set -euo pipefail
# shellcheck source=board/common/image.sh
source "$(dirname "$0")/image.sh"
images=$1
board=$2
keys=$(signing_keys)
out=$images/backrow-$board
PATH=$HOST_DIR/bin:$HOST_DIR/sbin:$PATH

work=$images/disk
rm -rf "$work"
mkdir "$work"
ln "$images/rootfs.squashfs" "$work/rootfs.squashfs"
layout=$backrow/board/common/genimage.cfg
boot=
case "$board" in
  rpi*)
    # shellcheck source=board/raspberrypi/image.sh
    source "$(dirname "$0")/../raspberrypi/image.sh"
    architecture=aarch64
    layout=$backrow/board/raspberrypi/genimage.cfg
    boot=$work/boot.vfat
    make_pi_boot "$work" "$images"
    make_pi_esp "$work"
    ;;
  *x86_64)
    architecture=x86_64
    make_esp "$work" "$images/efi-part/EFI/BOOT/bootx64.efi" BOOTX64.EFI \
      'console=tty0 console=ttyS0,115200 quiet loglevel=4'
    ;;
  *)
    architecture=aarch64
    make_esp "$work" "$images/efi-part/EFI/BOOT/bootaa64.efi" BOOTAA64.EFI \
      'console=tty0 console=ttyAMA0 quiet loglevel=4'
    ;;
esac
make_config "$work"
make_data "$work"
make_disk "$work" "$architecture" "$out.img" "$layout"
make_bundle "$images/rootfs.squashfs" "$board" "$(version)" "$keys" "$out.raucb" "$boot"
# What is handed out: the image packed, with its own sum.
zstd --quiet --force -19 -T0 "$out.img" -o "$out.img.zst"
for file in "$out.img.zst" "$out.raucb"; do
  (cd "$images" && sha256sum "$(basename "$file")" > "$(basename "$file").sha256")
done
size_report "$TARGET_DIR" "$images/rootfs.squashfs" "$out.img" "$out.img.zst" > "$out.sizes"
rm -rf "$work"
# MiB that people fetch: more than this has come in by mistake.
case "$board" in
  qemu_*) limit=64 ;;
  *) limit=96 ;;
esac
if [ "$(stat -c %s "$out.img.zst")" -gt $((limit << 20)) ]; then
  say "$out.img.zst is larger than $limit MiB; $out.sizes tells what takes the room"
  exit 1
fi
