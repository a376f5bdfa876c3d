# shellcheck shell=bash
# Part of flash.sh: writing, reading back, and leaving nothing half done.

# dd wants one unit for offset and length, and small units are slow: whole MiB where it can be.
units() { # first count origin: fills in unit, at, from, count and blocks
  local first=$1 left=$2 origin=$3
  if [ $((first % 256)) = 0 ] && [ $((origin % 256)) = 0 ] && [ "$left" -ge 256 ]; then
    unit=1048576 at=$((first / 256)) from=$(((first - origin) / 256)) count=$((left / 256))
    [ "$count" -le 16 ] || count=16
    blocks=$((count * 256))
  else
    unit=4096 at=$first from=$((first - origin)) count=$((256 - first % 256))
    [ "$count" -le "$left" ] || count=$left
    blocks=$count
  fi
}

watched=0 # whether get shows how far it is
get() { # first count file [flag]: blocks to standard output
  local first=$1 left=$2 unit at from count blocks
  while [ "$left" -gt 0 ]; do
    units "$first" "$left" 0
    dd if="$3" bs="$unit" skip="$at" count="$count" ${4:+"$4"} 2>/dev/null
    first=$((first + blocks)) left=$((left - blocks))
    [ "$watched" = 0 ] || show "$blocks"
  done
}

put() { # first count file origin
  local first=$1 left=$2 unit at from count blocks
  while [ "$left" -gt 0 ]; do
    units "$first" "$left" "$4"
    dd if="$3" of="$raw" bs="$unit" skip="$from" seek="$at" count="$count" conv=notrunc \
      ${direct_out:+"$direct_out"} 2>"$work/said" ||
      die 40 "writing to $device failed: $(tail -n 1 "$work/said")"
    first=$((first + blocks)) left=$((left - blocks))
    show "$blocks"
  done
}

show() { # blocks that were done: a line that changes on a screen, some lines elsewhere
  local percent
  [ -n "$doing" ] || return 0
  done_blocks=$((done_blocks + $1))
  percent=$((done_blocks * 100 / body))
  [ "$percent" -gt "$shown" ] || return 0
  if [ -t 2 ]; then
    printf '\r%s %3d %%' "$doing" "$percent" >&2
  elif [ $((percent / 10)) -gt $((shown / 10)) ]; then
    say "$doing $percent %"
  fi
  shown=$percent
}
begin() { # what; nothing: what takes no time
  [ ! -t 2 ] || [ -z "${doing-}" ] || echo >&2
  doing=$1 done_blocks=0 shown=0
}

# Zeros where a partition table can be: at both ends of the disk, and where the image ends.
blank() {
  local end failed=0
  dd if=/dev/zero of="$raw" bs=1048576 count=1 conv=notrunc 2>/dev/null || failed=1
  for end in "$device_size" "$image_size"; do
    dd if=/dev/zero of="$raw" bs=512 seek=$((end / 512 - 64)) count=64 conv=notrunc 2>/dev/null || failed=1
  done
  "${os}_flush" 2>/dev/null || failed=1
  return "$failed"
}

write_stage() { # stage
  local first count stage source
  while read -r first count _ stage source <&3; do
    [ "$stage" = "$1" ] || continue
    case $source in
      image) put "$first" "$count" "$disk" 0 ;;
      config) put "$first" "$count" "$config" "$config_first" ;;
    esac
  done 3<"$work/plan"
  "${os}_flush" 2>"$work/said" || die 40 "writing to $device failed: $(tail -n 1 "$work/said")"
}

verify_stage() { # stage
  local first count sum stage length watched=0
  # In a pipeline it is a copy of this shell that counts; only a screen may see both.
  [ ! -t 2 ] || watched=1
  while read -r first count sum stage _ <&3; do
    [ "$stage" = "$1" ] || continue
    # The image's last block may be a part of one.
    length=$((image_size - first * 4096))
    [ "$length" -le $((count * 4096)) ] || length=$((count * 4096))
    [ "$(get "$first" "$count" "$raw" "$direct_in" | head -c "$length" | sha256)" = "$sum" ] ||
      die 41 "what $device gives back differs from what was written (blocks $first to $((first + count - 1))). Use another disk."
    show "$count"
  done 3<"$work/plan"
}

finish() { # exit code
  trap '' INT TERM HUP
  trap - EXIT
  if [ "$writing" = 1 ]; then
    begin ''
    if blank; then
      say "The partition table of $device was blanked: nothing boots from it. Flash it again."
    else
      say "The partition table of $device could not be blanked, but it had been before writing began,"
      say "or the disk is gone. Do not boot from it. Flash it again."
    fi
  fi
  [ -z "$work" ] || rm -rf "$work"
  exit "$1"
}
