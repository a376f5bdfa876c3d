#!/usr/bin/env bash
# Checks this tree with Buildroot itself: each defconfig is what savedefconfig gives, every package file
# pleases check-package, and every package's dependencies resolve. `make check-image BUILDROOT_DIR=DIR`
# calls this; tests/tests/recipes.rs checks what can be checked without a Buildroot tree.
set -euo pipefail
cd "$(dirname "$0")"
external=$PWD

tree=${BUILDROOT_DIR:?say where an unpacked Buildroot release is: BUILDROOT_DIR=DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
complain() { printf 'check: %s\n' "$*" >&2; failed=1; }

for defconfig in configs/*_defconfig; do
  name=$(basename "$defconfig")
  output=$work/$name
  buildroot() { make -s -C "$tree" O="$output" BR2_EXTERNAL="$external" "$@"; }
  buildroot "$name" >/dev/null
  buildroot savedefconfig BR2_DEFCONFIG="$work/saved" >/dev/null
  diff -u "$defconfig" "$work/saved" || complain "$defconfig is not in the form that savedefconfig writes"
  # shellcheck disable=SC2046 # one target a package
  buildroot $(printf '%s-show-recursive-depends ' $(basename -a package/*/)) >"$work/log" 2>&1 \
    || { cat "$work/log" >&2; complain "$name: the dependencies above do not resolve"; }
done

# check-package is run from inside the tree it checks, and wants to know that it is an external one.
mapfile -t files < <(find . -name '*.mk' -o -name 'Config.in' -o -name '*.hash' -o -name external.desc | sort)
"$tree/utils/check-package" --br2-external "${files[@]}" || complain "check-package found the above"

[ "$failed" = 0 ] && printf 'check: the Buildroot tree is good\n'
exit "$failed"
