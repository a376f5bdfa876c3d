# shellcheck shell=bash
# Part of flash.sh: disks, as Linux tells them.

# Where the kernel tells; elsewhere only in tests.
sysfs=${FLASH_SYSFS:-/sys}
proc=${FLASH_PROC:-/proc}

name_of() { # path: the kernel's name of a block device
  local path
  path=$(readlink -f "$1") || path=$1
  printf '%s\n' "${path##*/}"
}

parent_of() { # name of a partition
  local disk
  disk=$(cd -P "$sysfs/class/block/$1/.." && pwd) && printf '%s\n' "${disk##*/}"
}

# The disks under a device, through partitions, LVM, encryption and RAID.
below() { # name
  local entry=$sysfs/class/block/$1 slave any=
  if [ -e "$entry/partition" ]; then
    below "$(parent_of "$1")"
    return
  fi
  for slave in "$entry"/slaves/*; do
    [ -e "$slave" ] || continue
    any=1
    below "${slave##*/}"
  done
  [ -n "$any" ] || printf '%s\n' "$1"
}

# A device, its partitions, and all that is built on them.
above() { # name
  local entry=$sysfs/class/block/$1 on
  printf '%s\n' "$1"
  for on in "$entry"/*/partition; do
    [ -e "$on" ] || continue
    on=${on%/partition}
    above "${on##*/}"
  done
  for on in "$entry"/holders/*; do
    [ -e "$on" ] && above "${on##*/}"
  done
  return 0
}

# The other devices of a mounted btrfs, of which the kernel's mounts name only one.
with_btrfs() { # name
  local member other
  printf '%s\n' "$1"
  for member in "$sysfs"/fs/btrfs/*/devices/"$1"; do
    [ -e "$member" ] || continue
    for other in "${member%/*}"/*; do printf '%s\n' "${other##*/}"; done
  done
}

mounts() { # lines of: name, mount point
  local number point rest source link
  while read -r _ _ number _ point rest; do
    source=${rest#* - }
    source=${source#* }
    source=${source%% *}
    if link=$(readlink "$sysfs/dev/block/$number"); then
      printf '%s %s\n' "${link##*/}" "$point"
    else
      case $source in /dev/*) printf '%s %s\n' "$(name_of "$source")" "$point" ;; esac
    fi
  done <"$proc/self/mountinfo"
}

disks_under() { # names on standard input
  local name member
  while read -r name; do
    for member in $(with_btrfs "$name"); do below "$member"; done
  done | sort -u
}

linux_disks() {
  local entry
  for entry in "$sysfs"/block/*; do
    case ${entry##*/} in loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd*) continue ;; esac
    [ -e "$entry" ] && printf '/dev/%s\n' "${entry##*/}"
  done
  return 0
}

field() { # key: of a line of KEY="value" pairs on standard input
  sed -n "s/^\(.* \)\{0,1\}$1=\"\([^\"]*\)\".*/\2/p" | sed 's/\\x20/ /g; s/^ *//; s/ *$//'
}

linux_describe() { # device: fills in model, serial, size, bus and removable
  local line name
  name=$(name_of "$1")
  line=$(lsblk -dnbP -o SIZE,RM,TRAN,MODEL,SERIAL "$1") || line=
  model=$(field MODEL <<<"$line")
  serial=$(field SERIAL <<<"$line")
  size=$(field SIZE <<<"$line")
  bus=$(field TRAN <<<"$line")
  removable=no
  [ "$(field RM <<<"$line")" != 1 ] || removable=yes
  # The kernel calls a card in a built-in reader fixed, as it does the soldered eMMC.
  case $(cat "$sysfs/class/block/$name/device/type" 2>/dev/null) in
    SD) removable=yes bus=sd ;;
    MMC) bus=emmc ;;
  esac
  size=${size:-0} bus=${bus:-other}
}

# Without root's rights only lsblk may tell.
linux_bytes() { blockdev --getsize64 "$1" 2>/dev/null || lsblk -dnbP -o SIZE "$1" | field SIZE; }

signatures() { # device names...
  local name
  for name in "$@"; do
    lsblk -dnrb -o FSTYPE "/dev/$name" 2>/dev/null || true
    blkid -p -s TYPE -o value "/dev/$name" 2>/dev/null || true
  done
}

# Says why a disk must not be written to, and fails with the exit code for it.
linux_refusal() { # device
  local device=$1 name family own point type entry
  [ -b "$device" ] || {
    echo "$device is not there, or is no disk. Without a DEVICE, flash.sh lists the disks."
    return 31
  }
  name=$(name_of "$device")
  entry=$sysfs/class/block/$name
  if [ -e "$entry/partition" ]; then
    echo "$device is a partition. Name the whole disk: /dev/$(parent_of "$name")"
    return 27
  fi
  if [ -e "$entry/dm" ] || [ -e "$entry/md" ]; then
    echo "$device is no disk of its own: it is made of others."
    return 31
  fi
  own=$(mounts | while read -r source point; do
    # Old bash wants the bracket before a pattern inside $( ).
    case $point in (/ | /boot | /boot/* | /efi | /usr) echo "$source" ;; esac
  done | disks_under)
  if grep -qxF "$name" <<<"$own"; then
    echo "$device holds this computer's own system. Flashing it would destroy that."
    return 20
  fi
  if lies_on "$name"; then
    echo "The image $image lies on $device itself. Copy it to another disk first."
    return 30
  fi
  family=$(above "$name")
  point=$(mounts | while read -r source point; do
    for source in $(with_btrfs "$source"); do
      if grep -qxF "$source" <<<"$family"; then printf '%b' "$point"; break 2; fi
    done
  done)
  if [ -n "$point" ]; then
    echo "$device is mounted at $point. If nothing there is needed: sudo umount '$point'"
    return 21
  fi
  point=$(tail -n +2 "$proc/swaps" | while read -r source type _; do
    [ "$type" = partition ] || continue
    if grep -qxF "$(name_of "$source")" <<<"$family"; then echo "$source"; break; fi
  done)
  if [ -n "$point" ]; then
    echo "$device is used for swap. If it is the right disk: sudo swapoff $point"
    return 22
  fi
  local wipe="If nothing on it is needed, remove that first (sudo wipefs --all on it and its partitions)."
  # shellcheck disable=SC2046 # kernel names have no spaces
  for type in $(signatures $(linux_parts "$name")); do
    case $type in
      *raid_member | drbd)
        echo "$device belongs to a RAID ($type). $wipe"
        return 23
        ;;
      LVM*_member)
        echo "$device belongs to LVM ($type). $wipe"
        return 24
        ;;
      crypto_LUKS | BitLocker)
        echo "$device is encrypted ($type). $wipe"
        return 25
        ;;
      *_member | bcache)
        echo "$device belongs to a set of disks ($type). $wipe"
        return 26
        ;;
    esac
  done
  type=$(grep -vxF "$(linux_parts "$name")" <<<"$family" | head -n 1) || true
  if [ -n "$type" ]; then
    echo "$device is in use by $type, which is built on it. Stop that first."
    return 26
  fi
  if [ "$(cat "$entry/size")" = 0 ]; then
    echo "$device has no medium in it."
    return 31
  fi
  if [ "$(cat "$entry/ro")" = 1 ]; then
    echo "$device is read-only. Is the little switch of the card on LOCK?"
    return 28
  fi
  if [ "$(cat "$entry/queue/logical_block_size")" != 512 ]; then
    echo "$device has sectors of $(cat "$entry/queue/logical_block_size") bytes; images are for 512."
    return 32
  fi
}

linux_parts() { # name: itself and its partitions
  local on
  printf '%s\n' "$1"
  for on in "$sysfs/class/block/$1"/*/partition; do
    [ -e "$on" ] || continue
    on=${on%/partition}
    printf '%s\n' "${on##*/}"
  done
}

# Whether the image lies on a disk, or the disk is made of the image.
lies_on() { # name
  local source file
  file=$(cat "$sysfs/class/block/$1/loop/backing_file" 2>/dev/null) || file=
  if [ -n "$file" ] && [ "$file" -ef "$image" ]; then return 0; fi
  source=$(df -P "$image" | tail -n 1)
  case $source in /dev/*) ;; *) return 1 ;; esac
  name_of "${source%% *}" | disks_under | grep -qxF "$1"
}

# Nothing may use the disk now: udev keeps its hands off while the lock is held (so no desktop
# mounts what appears), and the kernel itself says whether all others do.
linux_release() {
  local busy
  exec 9<"$device"
  flock -n 9 || die 26 "$device is in use by another program. Nothing was written."
  busy=$(blockdev --rereadpt "$device" 2>&1) || true
  case $busy in *busy*) die 26 "$device is in use by something. Nothing was written." ;; esac
}
linux_may_write() { [ -r "$1" ] && [ -w "$1" ]; }
linux_raw() { printf '%s\n' "$1"; }
linux_flush() { sync "$device" && blockdev --flushbufs "$device"; }
linux_eject() {
  exec 9<&-
  blockdev --rereadpt "$device" 2>/dev/null || true
  [ "$removable" = no ] || ! have eject || eject "$device" 2>/dev/null || true
}
