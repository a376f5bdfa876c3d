#!/bin/sh
# Runs inside the bench image's new root (see root.sh), where apt still is; it goes at the end.
set -eu
cd /build
ldconfig

# Of the kernel, only the listed modules with what they need.
cd /lib/modules/*/
version=$(basename "$PWD")
depmod "$version"
list() { # names on stdin; files, each after those it needs
  while read -r module; do
    modprobe -S "$version" --show-depends "$module" 2>/dev/null || echo "no module $module" >&2
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'
}
sed -n 's/^root: //p' /build/modules | tr ' ' '\n' | list > /build/root-modules
sed -e '/^#/d' -e 's/^root: //' /build/modules | tr ' ' '\n' | list > /build/all-modules
find . -name '*.ko' | sed "s,^\.,/lib/modules/$version," | sort > /build/there
sort /build/all-modules | sed "s,^/usr,," | comm -23 /build/there - | xargs rm -f
find . -type d -empty -delete
rm -rf build source
depmod "$version"

# The kernel under the name that GRUB looks for, and a small initrd that mounts the root.
mv "/boot/vmlinuz-$version" /boot/kernel
rm -f /boot/System.map-* /boot/config-*
tree=/build/initrd
mkdir -p $tree/bin $tree/dev $tree/proc $tree/sys $tree/root $tree/modules
cp /bin/busybox $tree/bin/
cp /build/initrd-init $tree/init
chmod 755 $tree/init
n=100
while read -r module; do
  cp "$module" "$tree/modules/$n-$(basename "$module")"
  n=$((n + 1))
done < /build/root-modules
ldd /sbin/findfs | grep -o '/lib[^ ]*' | while read -r library; do
  mkdir -p "$tree$(dirname "$library")"
  cp -L "$library" "$tree$library"
done
cp /sbin/findfs $tree/bin/
(cd $tree && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) > /boot/initrd

# GStreamer's registry: scanned here once, not on every boot.
GST_REGISTRY=/usr/lib/backrow/gst-registry.bin
export GST_REGISTRY
mkdir -p /usr/lib/backrow
gst-inspect-1.0 > /dev/null

# What a box does not need.
rm -rf /build /boot/grub /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info \
  /usr/lib/apt /usr/share/perl* /usr/lib/*/perl* /usr/share/zoneinfo/right /usr/share/zoneinfo/posix \
  /usr/share/bash-completion /usr/share/zsh /usr/share/gcc /usr/share/gdb /usr/share/lintian \
  /usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* /usr/lib/dpkg /usr/share/dpkg /etc/apt /etc/cron* \
  /usr/lib/udev/hwdb.d /usr/lib/udev/hwdb.bin /usr/lib/*/libperl.so.* /usr/lib/*/libapt-*
find /var -mindepth 1 -delete
: > /etc/machine-id
rm -f /etc/resolv.conf /etc/hostname /etc/fstab
