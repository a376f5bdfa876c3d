#!/usr/bin/env bash
# Makes the Debian root of the bench image, all that does not change with our own work, as a tar.
#   root.sh ARCHITECTURE OUT.tar      packages are kept in debs-ARCHITECTURE beside it
# mmdebstrap takes the packages from wherever this machine's apt takes them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
architecture=$1
out=$2
debs=$(dirname "$out")/debs-$architecture

whole=() parts=()
while read -r name files; do
  case "$name" in
    '' | '#'*) ;;
    *:) parts+=("${name%:} $files") ;;
    *) whole+=("$name") ;;
  esac
done < "$here/packages"

# Inside the new root: what is taken in parts, the kernel's modules, the initrd, the registry.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "${parts[@]}" > "$work/parts"
mkdir "$work/build"
cp "$here/modules" "$here/initrd-init" "$here/inside.sh" "$work/build/"

# shellcheck disable=SC2016 # mmdebstrap runs the hooks, and says what $1 is
run_inside='chroot "$1" sh /build/inside.sh'
include=$(IFS=,; echo "${whole[*]}")
mmdebstrap --quiet --variant=apt --architectures="$architecture" --include="$include" \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/bug/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' --dpkgopt='path-exclude=/usr/lib/*/gconv/*' \
  --skip=download/empty,essential/unlink,cleanup \
  --setup-hook="mkdir -p '$debs' \"\$1\"/var/cache/apt/archives" \
  --setup-hook="find '$debs' -name '*.deb' -exec cp -t \"\$1\"/var/cache/apt/archives {} +" \
  --customize-hook="cp -nt '$debs' \"\$1\"/var/cache/apt/archives/*.deb" \
  --customize-hook="cp -r $work/build \"\$1\"/" \
  --customize-hook="$here/parts.sh \"\$1\" $work/parts '$debs'" \
  --customize-hook="$run_inside" \
  --format=tar bookworm - > "$out.new"
mv "$out.new" "$out"
