#!/usr/bin/env bash
# Makes a box's root of what mmdebstrap has put together: its hook, called by root.sh.
#   fit.sh ROOT ARCHITECTURE
# Runs none of the root's programs where that root is of another machine's kind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1
architecture=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Of another kind, packages are only unpacked (see root.sh): what their scripts would have made.
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
  cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
  printf '%s\n' /bin/sh /bin/bash > "$root/etc/shells"
  printf 'u messagebus - "D-Bus"\n' > "$root/usr/lib/sysusers.d/dbus.conf"
  printf 'passwd: files systemd\ngroup: files systemd\nhosts: files resolve dns\n' \
    > "$root/etc/nsswitch.conf"
  find "$root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + \
    > "$root/etc/ssl/certs/ca-certificates.crt"
fi
ldconfig -r "$root" 2>/dev/null

# Of the kernel, only the listed modules with what they need.
version=$(basename "$(echo "$root"/usr/lib/modules/*)")
modules=$root/usr/lib/modules/$version
depmod --basedir "$root" "$version"
list() { # modules' names; their files below ROOT, each after those it needs
  tr ' ' '\n' | while read -r module; do
    [ -z "$module" ] || modprobe --dirname "$root" --set-version "$version" --show-depends "$module" ||
      echo "fit.sh: there is no module $module" >&2
  done 2>> "$work/missing" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
    sed "s,^.*/lib/modules/$version/,,"
}
sed -n 's/^root: //p' "$here/modules" | list > "$work/disk"
sed -e '/^#/d' -e 's/^root: //' "$here/modules" | list > "$work/all"
grep fit.sh "$work/missing" >&2 || true
(cd "$modules" && find . -name '*.ko' -printf '%P\n') | sort > "$work/there"
sort "$work/all" | comm -23 "$work/there" - | (cd "$modules" && xargs rm -f)
find "$modules" -type d -empty -delete
rm -rf "$modules/build" "$modules/source"
depmod --basedir "$root" "$version"

# The kernel under the name that GRUB looks for, and a small initrd that mounts the root.
mv "$root/boot/vmlinuz-$version" "$root/boot/kernel"
tree=$work/initrd
mkdir -p "$tree"/{bin,dev,proc,sys,root,modules}
cp "$root/bin/busybox" "$root/sbin/findfs" "$tree/bin/"
install -m 755 "$here/initrd-init" "$tree/init"
n=100
while read -r module; do
  cp "$modules/$module" "$tree/modules/$n-$(basename "$module")"
  n=$((n + 1))
done < "$work/disk"
# findfs and its libraries, where they are.
for library in $(cd "$root/usr" && find lib lib64 \( -name 'libblkid.so.1' -o -name 'libc.so.6' \
  -o -name 'ld-linux-*.so.*' \) 2>/dev/null); do
  mkdir -p "$tree/$(dirname "$library")"
  cp -L "$root/usr/$library" "$tree/$library"
done
(cd "$tree" && find . | cpio --quiet --create --format newc | gzip -1) > "$root/boot/initrd"

# GStreamer's registry: scanned here once, not on every boot.
mkdir -p "$root/usr/lib/backrow"
if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
  chroot "$root" env GST_REGISTRY=/usr/lib/backrow/gst-registry.bin gst-inspect-1.0 > /dev/null
else
  # Without the kernel's help a program of another kind starts no others: one process scans.
  qemu-aarch64 -L "$root" -E GST_REGISTRY="$work/registry" -E GST_REGISTRY_FORK=no \
    "$root/usr/bin/gst-inspect-1.0" > /dev/null
  mv "$work/registry" "$root/usr/lib/backrow/gst-registry.bin"
fi

# What a box does not need.
cd "$root"
rm -rf boot/grub usr/share/{doc,man,locale,info,bash-completion,zsh,gcc,gdb,lintian,dpkg} \
  usr/share/perl* usr/lib/*/perl* usr/bin/perl* usr/lib/*/libperl.so.* \
  usr/lib/{apt,dpkg} usr/bin/{apt,dpkg}* usr/lib/*/libapt-* etc/apt etc/cron* \
  usr/share/zoneinfo/{right,posix} usr/lib/udev/hwdb.{d,bin} \
  etc/{resolv.conf,hostname,fstab}
find var -mindepth 1 -delete
: > etc/machine-id
