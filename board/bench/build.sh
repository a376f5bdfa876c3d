#!/usr/bin/env bash
# Makes the bench image: Debian's packages with the box's overlay, boot loader, partitions and
# programs, for the tests that boot it (`make bench-image`).
#   build.sh [x86_64|aarch64]
# In target/bench: backrow-bench_x86_64.img with .bmap and .sha256, and updates for it in bundles/.
# Kept between builds: the Debian root while the files that make it are the same, the slot while the
# overlay and the programs are.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=board/common/image.sh
source "$here/../common/image.sh"
cd "$backrow"

architecture=${1:-x86_64}
board=bench_$architecture
bench=$backrow/target/bench
work=$bench/$board.work
image=$bench/backrow-$board.img
mkdir -p "$bench" "$work"
keys=$(signing_keys)

case "$architecture" in
  x86_64) debian=amd64 grub=x86_64-efi loader=BOOTX64.EFI console=ttyS0,115200 ;;
  aarch64) debian=arm64 grub=arm64-efi loader=BOOTAA64.EFI console=ttyAMA0 ;;
  *) say "unknown architecture $architecture"; exit 2 ;;
esac

# Files' names and contents as one number.
fingerprint() {
  find "$@" \( -type f -o -type l \) | LC_ALL=C sort |
    tar -cPf - --mtime=@0 --owner=0 --group=0 -T - | sha256sum | cut -c 1-16
}

# 1. Debian.
root=$bench/root-$debian-$(fingerprint board/bench/{packages,modules,root.sh,parts.sh,fit.sh,initrd-init}).tar
if [ ! -s "$root" ]; then
  say "making Debian's part, which takes minutes"
  rm -f "$bench/root-$debian"-*.tar
  board/bench/root.sh "$debian" "$root"
fi

# 2. The programs, as the tests build them, or as they are in PROGRAMS=folder; without what only a
# debugger reads.
if [ -n "${PROGRAMS:-}" ]; then
  built=$PROGRAMS
elif [ "$debian" = "$(dpkg --print-architecture)" ]; then
  cargo build --workspace --bins --locked --quiet
  built=target/debug
else
  board/bench/cross.sh "$architecture" "$bench/sysroot-$debian"
  built=target/$architecture-unknown-linux-gnu/debug
fi
case "$architecture" in
  "$(uname -m)") strip="strip" ;;
  *) strip=$architecture-linux-gnu-strip ;;
esac
programs=$work/programs
mkdir -p "$programs"
for program in collector appliance; do
  "$strip" --strip-all -o "$programs/$program" "$built/$program" 2>/dev/null ||
    install -m 755 "$built/$program" "$programs/$program"
done

state=$(fingerprint overlay board "$programs" "$keys/ca.cert.pem")-$(basename "$root")
if [ -s "$image" ] && [ "$(cat "$work/state" 2>/dev/null)" = "$state" ]; then
  say "$image is up to date"
  exit 0
fi
rm -f "$work/state" "$bench/READY"

# 3. A slot. Needs root's file owners: as another user, under fakeroot.
tree=$work/root
rm -rf "$tree"
mkdir "$tree"
tar -C "$tree" -xf "$root"
rm -rf "$work/grub"
mv "$tree/usr/lib/grub" "$work/grub"
cp -rT --no-preserve=ownership overlay "$tree"
install -m 755 "$programs"/* "$tree/usr/bin/"
systemd-sysusers --root="$tree" 2>/dev/null
systemctl --root="$tree" --quiet preset-all 2>/dev/null
systemctl --root="$tree" --quiet set-default multi-user.target
BACKROW_VERSION=$(version) complete_root "$tree" "$board" "$keys"
rm -f "$work/rootfs.squashfs"
mksquashfs "$tree" "$work/rootfs.squashfs" -comp gzip -Xcompression-level 3 -noappend -quiet \
  -no-progress

# 4. The disk.
if [ "$architecture" = x86_64 ]; then modules=(efi_gop efi_uga); else modules=(efi_gop); fi
grub-mkimage --directory "$work/grub/$grub" --format "$grub" --prefix /EFI/BOOT \
  --output "$work/$loader" part_gpt fat squash4 normal linux loadenv test search configfile echo \
  reboot halt regexp probe sleep "${modules[@]}"
make_esp "$work" "$work/$loader" "$loader" "console=tty0 console=$console quiet loglevel=4"
make_config "$work"
make_data "$work"
make_disk "$work" "$architecture" "$image"
size_report "$tree" "$work/rootfs.squashfs" "$image" > "$bench/$board.sizes"

# 5. Updates, good and bad.
if [ "$architecture" = x86_64 ]; then
  board/bench/updates.sh "$image" "$bench/bundles"
fi
rm -rf "$tree"
echo "$state" > "$work/state"
echo "$image" > "$bench/READY"
say "made $image"
