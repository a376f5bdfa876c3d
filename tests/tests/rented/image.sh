#!/usr/bin/env bash
# Makes what `make rented-test` boots: a new Debian 12 as one rents it, with cloud-init and sshd.
#   image.sh ENCODER.deb
# In target/rented: debian.img (one ext4 file system), kernel, initrd, and in mirror/ the packages that
# are to be installed on the running machine, for apt.
#
# Of Backrow there is nothing in it, but what its package depends on is there already, to the letter of
# its `Depends`: to unpack all of GStreamer on an emulated processor takes most of an hour.
set -euo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" != 0 ]; then
  echo "image.sh: files of Debian's users are made here, which only root can: run it as root" >&2
  exit 1
fi
package=$1
out=$PWD/target/rented

# A machine as a provider's image is: what Debian's own cloud images have.
machine=(
  linux-image-cloud-amd64 systemd-sysv systemd-resolved systemd-timesyncd dbus udev kmod
  iproute2 netplan.io openssh-server sudo ca-certificates cloud-init cloud-guest-utils
  e2fsprogs initramfs-tools
)
# What the documents have one install there.
later=(caddy curl mosquitto)

depends=$(dpkg-deb --field "$package" Depends)
state=$(cat "$0" - <<<"$depends" | sha256sum | cut -c 1-16)
if [ "$(cat "$out/state" 2>/dev/null)" = "$state" ]; then
  echo "image.sh: $out is up to date" >&2
  exit 0
fi
echo "image.sh: making a machine's disk, which takes minutes" >&2
rm -rf "$out"/{mirror,kernel,initrd,debian.img,state,log}
mkdir -p "$out/mirror"

# Called by mmdebstrap with the root as $1.
hook=$(mktemp)
trap 'rm -f "$hook"' EXIT
cat >"$hook" <<HOOK
#!/usr/bin/env bash
set -euo pipefail
root=\$1
apt() {
  chroot "\$root" env DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends "\$@" \
    >>'$out/log' 2>&1 || { cat '$out/log' >&2; exit 1; }
}
# systemd-resolved has made it its own, and does not run here.
cp --remove-destination /etc/resolv.conf "\$root/etc/resolv.conf"
apt satisfy --yes '$depends'
rm -f "\$root"/var/cache/apt/archives/*.deb
apt install --yes --download-only ${later[*]}
mv "\$root"/var/cache/apt/archives/*.deb '$out/mirror/'
cp -L "\$root/vmlinuz" '$out/kernel'
cp -L "\$root/initrd.img" '$out/initrd'
# As it comes to whoever rents it: nobody's keys, no identity, no lists of packages.
rm -rf "\$root"/var/lib/apt/lists/* "\$root"/var/cache/apt/*.bin "\$root"/etc/ssh/ssh_host_*
: >"\$root/etc/machine-id"
rm -f "\$root"/etc/{hostname,resolv.conf} "\$root/etc/apt/apt.conf.d/99mmdebstrap"
ln -s ../run/systemd/resolve/stub-resolv.conf "\$root/etc/resolv.conf"
echo 'LABEL=rented / ext4 defaults 0 1' >"\$root/etc/fstab"
# The root without /proc and what else is mounted in it.
alone=\$(mktemp -d)
mount --bind "\$root" "\$alone"
mke2fs -q -t ext4 -L rented -d "\$alone" '$out/debian.img' 6G
umount "\$alone"
rmdir "\$alone"
HOOK
chmod 755 "$hook"

include=$(IFS=,; echo "${machine[*]}")
mmdebstrap --quiet --variant=important --include="$include" \
  --skip=cleanup --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook="'$hook' \"\$1\"" --format=null bookworm -
(cd "$out/mirror" && dpkg-scanpackages . >Packages 2>/dev/null)
echo "$state" >"$out/state"
