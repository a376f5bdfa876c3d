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
  name=${name//@kind@/$architecture}
  case "$name" in
    '' | '#'*) ;;
    *:) parts+=("${name%:} $files") ;;
    *) whole+=("$name") ;;
  esac
done < "$here/packages"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%s\n' "${parts[@]}" > "$work/parts"
mkdir -p "$debs"

# shellcheck disable=SC2016 # mmdebstrap runs the hooks, and says what $1 is
merge='/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh "$1"'
# Programs of another machine's kind cannot be run here: those packages are only unpacked.
if [ "$architecture" = "$(dpkg --print-architecture)" ]; then
  how=(--variant=apt)
  last=--customize-hook
else
  # mmdebstrap(1): this variant ends with its extract hooks, and takes what is named and nothing else.
  how=(--variant=extract --setup-hook="$merge")
  last=--extract-hook
  whole+=('?essential')
fi

# shellcheck disable=SC2016 # mmdebstrap runs the hooks, and says what $1 is
hooks=(
  --setup-hook='mkdir -p "$1/var/cache/apt/archives"'
  --setup-hook="find '$debs' -name '*.deb' -exec cp -t \"\$1/var/cache/apt/archives\" {} +"
  "$last=cp -nt '$debs' \"\$1\"/var/cache/apt/archives/*.deb"
  "$last=$here/parts.sh \"\$1\" $work/parts '$debs'"
  "$last=$here/fit.sh \"\$1\" $architecture"
)
include=$(IFS=,; echo "${whole[*]}")
mmdebstrap --quiet "${how[@]}" --architectures="$architecture" --include="$include" \
  --skip=download/empty,essential/unlink,cleanup,check/qemu \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/lintian/*' --dpkgopt='path-exclude=/usr/share/bug/*' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' --dpkgopt='path-exclude=/usr/lib/*/gconv/*' \
  "${hooks[@]}" --format=tar bookworm - > "$out.new"
mv "$out.new" "$out"
