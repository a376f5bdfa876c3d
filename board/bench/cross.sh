#!/usr/bin/env bash
# Builds the box's programs for a machine of another kind, against Debian's libraries of that kind.
#   cross.sh aarch64 SYSROOT     SYSROOT is made when it is not there
set -euo pipefail
cd "$(dirname "$0")/../.."
architecture=$1
sysroot=$2
target=$architecture-unknown-linux-gnu
case "$architecture" in
  aarch64) debian=arm64 ;;
  *) echo "cross.sh: unknown architecture $architecture" >&2; exit 2 ;;
esac

if [ ! -d "$sysroot" ]; then
  echo "cross.sh: unpacking Debian's libraries for $debian" >&2
  rm -rf "$sysroot.new"
  # shellcheck disable=SC2016 # mmdebstrap runs the hook, and says what $1 is
  mmdebstrap --quiet --variant=extract --architectures="$debian" --skip=check/qemu \
    --setup-hook='/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh "$1"' \
    --aptopt='Apt::Install-Recommends "false"' \
    --include=libc6-dev,libudev-dev,libgstreamer1.0-dev,libgstreamer-plugins-base1.0-dev \
    --format=directory bookworm "$sysroot.new"
  mv "$sysroot.new" "$sysroot"
fi
sysroot=$(cd "$sysroot" && pwd)

if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
  rustup target add "$target"
fi
triple=$architecture-linux-gnu
name=$(tr 'a-z-' 'A-Z_' <<< "$target")
export "CARGO_TARGET_${name}_LINKER=$triple-gcc"
export "CARGO_TARGET_${name}_RUSTFLAGS=-C link-arg=--sysroot=$sysroot"
export "CC_${target//-/_}=$triple-gcc"
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR="$sysroot"
export PKG_CONFIG_LIBDIR="$sysroot/usr/lib/$triple/pkgconfig:$sysroot/usr/share/pkgconfig"
cargo build --quiet --locked --target "$target" -p backrow-collector -p backrow-appliance \
  --bin collector --bin appliance
