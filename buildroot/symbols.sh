#!/usr/bin/env bash
# Writes symbols.txt: every configuration symbol of the pinned Buildroot release, one a line. The
# defconfigs are checked against it where there is no Buildroot tree.
#   ./buildroot/symbols.sh BUILDROOT_DIR      when VERSION changes
set -euo pipefail
cd "$(dirname "$0")"

tree=${1:?which Buildroot tree? say: ./buildroot/symbols.sh BUILDROOT_DIR}
[ -f "$tree/Config.in" ] || { printf 'symbols: %s is not a Buildroot tree\n' "$tree" >&2; exit 1; }
find "$tree" -name 'Config*.in*' -not -path '*/output/*' -exec \
  grep -hoE '^[[:space:]]*(menu)?config [A-Za-z0-9_]+' {} + | awk '{print $2}' | LC_ALL=C sort -u >symbols.txt
