# shellcheck shell=bash
# Part of flash.sh: disks, as macOS tells them. Tested with stand-ins for its tools only.

told() { # key: of what diskutil told on standard input
  sed -n "s|^ *$1: *||p" | sed 's/ *$//'
}

macos_disks() {
  diskutil list physical | sed -n 's|^\(/dev/disk[0-9]*\) .*|\1|p'
}

macos_describe() {
  local about bytes
  about=$(diskutil info "$1") || about=
  model=$(told 'Device / Media Name' <<<"$about")
  serial=
  bytes=$(told 'Disk Size' <<<"$about")
  [ -n "$bytes" ] || bytes=$(told 'Total Size' <<<"$about")
  size=$(sed -n 's/.*(\([0-9]*\) Bytes).*/\1/p' <<<"$bytes")
  size=${size:-0}
  bus=$(told Protocol <<<"$about")
  bus=${bus:-other}
  case $(told 'Removable Media' <<<"$about") in Removable | Yes) removable=yes ;; *) removable=no ;; esac
}

macos_bytes() { (macos_describe "$1" && echo "$size"); }

# The disks under a volume or a path; an APFS volume is on a disk of its own, made of others.
macos_under() {
  local about store
  about=$(diskutil info "$1") || return 0
  told 'Part of Whole' <<<"$about"
  for store in $(told 'APFS Physical Store' <<<"$about"); do
    case $store in disk*s*) echo "${store%s*}" ;; esac
  done
}

macos_refusal() {
  local device=$1 name=${1##*/} about listing
  about=$(diskutil info "$device" 2>/dev/null) || {
    echo "$device is not there, or is no disk. Without a DEVICE, flash.sh lists the disks."
    return 31
  }
  if [ "$(told Whole <<<"$about")" != Yes ]; then
    echo "$device is a partition. Name the whole disk: /dev/$(told 'Part of Whole' <<<"$about")"
    return 27
  fi
  if [ "$(told Virtual <<<"$about")" = Yes ]; then
    echo "$device is no disk of its own: it is made of others."
    return 31
  fi
  if macos_under / | grep -qxF "$name"; then
    echo "$device holds this computer's own system. Flashing it would destroy that."
    return 20
  fi
  macos_describe "$device"
  if [ "$(told 'Device Location' <<<"$about")" = Internal ] && [ "$removable" = no ]; then
    echo "$device is built into this Mac. Flashing it would destroy what is there."
    return 20
  fi
  if macos_under "$(df -P "$image" | tail -n 1 | sed 's/ .*//')" | grep -qxF "$name"; then
    echo "The image $image lies on $device itself. Copy it to another disk first."
    return 30
  fi
  local wipe="If nothing on it is needed, erase it with Disk Utility first."
  listing=$(diskutil list "$device")
  case $listing in
    *Apple_RAID* | *Linux_RAID*)
      echo "$device belongs to a RAID. $wipe"
      return 23
      ;;
    *Linux_LVM*)
      echo "$device belongs to LVM. $wipe"
      return 24
      ;;
    *Apple_CoreStorage*)
      echo "$device is encrypted or part of a set. $wipe"
      return 25
      ;;
    *Apple_APFS*)
      if macos_has_filevault "$name"; then
        echo "$device is encrypted. $wipe"
        return 25
      fi
      ;;
  esac
  if [ "$(told 'Media Read-Only' <<<"$about")" = Yes ]; then
    echo "$device is read-only. Is the little switch of the card on LOCK?"
    return 28
  fi
  case $(told 'Device Block Size' <<<"$about") in
    '512 Bytes') ;;
    *)
      echo "$device has sectors that are not of 512 bytes; images are for 512."
      return 32
      ;;
  esac
}

# Whether an APFS container on this disk has an encrypted volume; the container is a disk of its own.
macos_has_filevault() {
  diskutil apfs list | awk -v part="${1}s[0-9]+" '
    / Container disk/ { ours = 0 }
    / Physical Store / { ours = ours || $0 ~ part }
    /FileVault: +Yes/ && ours { found = 1 }
    END { exit !found }'
}

# macOS mounts whatever is plugged in, so being mounted says nothing: it is undone, not refused.
macos_release() {
  diskutil unmountDisk "$device" >/dev/null ||
    die 21 "$device is mounted, and something there is open. Nothing was written."
}
macos_may_write() { [ "$(id -u)" = 0 ]; }
macos_raw() { printf '/dev/r%s\n' "${1##*/}"; }
macos_flush() { sync; }
macos_eject() { diskutil eject "$device" >/dev/null || true; }
