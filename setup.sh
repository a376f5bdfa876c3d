#!/usr/bin/env bash
# Installs what Backrow needs from Debian, if it is not there yet.
#   ./setup.sh run    what `make run` needs
#   ./setup.sh test   what `make test` needs besides
#   ./setup.sh arm    what `make bench-image ARCHITECTURE=aarch64` needs besides
set -euo pipefail
cd "$(dirname "$0")"

run_packages=(
  # building
  build-essential pkg-config libudev-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  nodejs npm
  # media: capture, encode, decode, mux
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x gstreamer1.0-alsa
  fonts-dejavu-core
  # the message broker, and the tools run.sh uses
  mosquitto curl ca-certificates
)
test_packages=(
  # foreign clients and servers that the tests drive
  ffmpeg gstreamer1.0-tools chromium chromium-driver libnginx-mod-rtmp nginx-light
  mosquitto-clients umockdev libumockdev0 gir1.2-umockdev-1.0 python3 python3-gi python3-pip
  # helpers of the tests
  espeak-ng openssl procps util-linux iproute2 shellcheck
  # what a box logs in to and joins, and what takes its journal
  hostapd iw wpasupplicant systemd-journal-remote
  # the box in an emulated machine, its disk and its file systems
  qemu-system-x86 qemu-system-arm qemu-utils ovmf qemu-efi-aarch64 mtools openssh-client openssh-server
  e2fsprogs dosfstools fusefat socat
  # images and flash.sh
  bmap-tools fdisk genimage zstd xz-utils
  mmdebstrap squashfs-tools grub-common rauc systemd kmod cpio
  # Debian packages, and what cloud-init needs to look through the user data
  debhelper
  python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-netifaces
  python3-oauthlib python3-requests python3-yaml
)
# Installed, one would set this machine up at its next start and the other would take port 80. They
# are only unpacked, into target/unpacked.
unpacked_packages=(cloud-init caddy)
arm_packages=(
  # the bench image for ARM, built on a PC
  qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
)

say() { printf 'setup: %s\n' "$*" >&2; }

case "${1:-run}" in
  run) packages=("${run_packages[@]}") ;;
  test) packages=("${run_packages[@]}" "${test_packages[@]}") ;;
  arm) packages=("${run_packages[@]}" "${test_packages[@]}" "${arm_packages[@]}") ;;
  *) say "unknown argument '$1': say run, test or arm"; exit 2 ;;
esac

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
for package in "${packages[@]}"; do
  # Node.js and npm may come from elsewhere; what counts is that they are there.
  case "$package" in
    nodejs) command -v node >/dev/null && continue ;;
    npm) command -v npm >/dev/null && continue ;;
    python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
  esac
  installed "$package" || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "this is not Debian; please install what these Debian packages hold: ${missing[*]}"
    exit 1
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    say "not root and no sudo: as root, run: apt-get install ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  # A broker started by its Debian package would hold port 1883; Backrow starts its own.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
fi

# Fetches a package and unpacks it; the lists of packages may be old, or not be there yet.
unpack() {
  local package=$1 folder
  folder=$(mktemp -d -p target/unpacked)
  (
    cd "$folder"
    apt-get download -qq "$package" || { as_root apt-get update -qq; apt-get download -qq "$package"; }
    dpkg-deb -x "$package"_*.deb .
    rm "$package"_*.deb
  )
  mv "$folder" "target/unpacked/$package"
}

if [ "${1:-run}" = test ]; then
  mkdir -p target/unpacked
  for package in "${unpacked_packages[@]}"; do
    [ -d "target/unpacked/$package" ] || { say "unpacking $package"; unpack "$package"; }
  done
fi

if ! command -v cargo >/dev/null; then
  say "Rust is missing: install it from https://rustup.rs, then try again"
  exit 1
fi
