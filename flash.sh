#!/usr/bin/env bash
# Writes a Backrow image to a disk and proves that it arrived; `./flash.sh --help` tells the rest.
#
# The partition table goes on last, after everything else was read back: whatever happens before
# (a pulled stick, a crash, kill -9), no box boots half an image.
#
# It runs on Debian and on macOS, whose bash is 3.2 and whose dd, sed and od are BSD's.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

usage() {
  cat <<'HELP'
Usage: ./flash.sh [--site site.toml] [--dry-run] [--yes[=WORD]] [--no-verify] IMAGE [DEVICE]

Writes a Backrow image to a disk (a USB stick, an SD card, the disk of a box), reads it back,
and puts your site.toml where the box looks for it.

  IMAGE           backrow-BOARD.img, or packed as .img.zst, .img.xz or .img.gz. If IMAGE.sha256
                  lies beside it, it is checked; if a .bmap does, only the parts of the disk that
                  matter are written and read back.
  DEVICE          the whole disk, such as /dev/sdb or /dev/disk4. Without it, the disks of this
                  computer are listed and nothing is done.

  --site FILE     put FILE into the CONFIG partition as site.toml. At its first start the box
                  takes the secrets out of it, keeps them on its own disk, and answers in OK.txt
                  or ERROR.txt beside it.
  --dry-run       check everything, say what would be done, write nothing
  --yes           do not ask, for scripts. A disk that is built in or larger than 256 GB needs
                  --yes=WORD, where WORD is its model or its serial number (its size in bytes
                  if it has neither): what you would have to type.
  --no-verify     do not read back what was written
  --help          this text

From the start of writing until all is well the disk has no partition table, so that a box never
boots half an image. Some examples:

  ./flash.sh backrow-pc_x86_64.img.zst
  sudo ./flash.sh --site site.toml backrow-pc_x86_64.img.zst /dev/sdb

Exit codes:
   0  written and read back (or, with --dry-run, it would be)
   1  something is missing here: a program, root's rights, room for temporary files
   2  wrong usage
   3  no DEVICE was named; the disks were listed
   4  not confirmed
  10  IMAGE cannot be read, or is not a disk image
  11  IMAGE does not match its checksum or its block map
  13  site.toml is wrong, or IMAGE has no CONFIG partition for it
  20  DEVICE holds this computer's own system
  21  DEVICE is mounted
  22  DEVICE is used for swap
  23  DEVICE belongs to a RAID
  24  DEVICE belongs to LVM
  25  DEVICE is encrypted
  26  DEVICE is in use by something else
  27  DEVICE is a partition, not a disk
  28  DEVICE is read-only
  29  DEVICE is too small
  30  IMAGE lies on DEVICE
  31  DEVICE is not there, or is no disk
  32  DEVICE has sectors that are not of 512 bytes
  40  writing failed; the disk has no partition table now
  41  what was read back differs; the disk has no partition table now
  129, 130, 143  stopped by a signal; if writing had begun, the disk has no partition table now
HELP
}

say() { printf '%s\n' "$*" >&2; }
die() { # code message...
  local code=$1
  shift
  printf 'flash.sh: %s\n' "$*" >&2
  exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }
need() { # program package
  have "$1" || die 1 "$1 is missing; install it (Debian and Homebrew: $2) and try again"
}
gigabytes() { # as it says on the label
  if [ "$1" -lt 1000000000 ]; then printf '%d MB' $(($1 / 1000000)); else
    printf '%d.%d GB' $(($1 / 1000000000)) $(($1 / 100000000 % 10))
  fi
}
mebibytes() { printf '%d MiB' $((($1 + 1048575) / 1048576)); }
size_of() { echo $(($(wc -c <"$1"))); }

sha256() { # of standard input
  if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -c 1-64
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=flash/linux.sh
. "$here/flash/linux.sh"
# shellcheck source=flash/macos.sh
. "$here/flash/macos.sh"
# shellcheck source=flash/image.sh
. "$here/flash/image.sh"
# shellcheck source=flash/write.sh
. "$here/flash/write.sh"

describe_line() {
  printf '%s, %s, %s, %s' "${model:-no model}" "$(gigabytes "$size")" "$bus" \
    "$([ "$removable" = yes ] && echo removable || echo fixed)"
  [ -z "$serial" ] || printf ', serial %s' "$serial"
}

list_disks() {
  local device reason any=
  say "No DEVICE was named. The disks of this computer:"
  for device in $("${os}_disks"); do
    any=1
    "${os}_describe" "$device"
    say "  $device  $(describe_line)"
    reason=$("${os}_refusal" "$device") || say "      cannot be used: $reason"
  done
  [ -n "$any" ] || say "  none"
  say "Run it again with the one you mean: ./flash.sh ... ${image##*/} DEVICE"
  exit 3
}

# For a disk that people rarely mean, they must show that they mean it.
careful() { [ "$size" -gt 256000000000 ] || [ "$removable" = no ]; }

confirm() {
  local word answer=
  word=${model:-${serial:-$size}}
  if careful; then
    if [ "$yes" = 1 ] && [ -n "$yes_word" ]; then
      answer=$yes_word
    elif [ "$yes" = 1 ]; then
      die 4 "$device is built in or large: say --yes='$word' if you mean it. Nothing was written."
    else
      say "$device is built in or larger than 256 GB. Type '$word' if you mean it:"
      read -r answer || true
    fi
    [ -n "$answer" ] || die 4 "Not confirmed. Nothing was written."
    [ "$answer" = "$word" ] || [ "$answer" = "$serial" ] ||
      die 4 "'$answer' is not '$word'. Nothing was written."
  elif [ "$yes" = 1 ]; then
    [ -z "$yes_word" ] || [ "$yes_word" = "$word" ] || [ "$yes_word" = "$serial" ] ||
      die 4 "'$yes_word' is not '$word'. Nothing was written."
  else
    say "Write to it? [y/N]"
    read -r answer || true
    case $answer in y | Y | yes | Yes) ;; *) die 4 "Not confirmed. Nothing was written." ;; esac
  fi
}

refuse_if_needed() {
  local reason
  reason=$("${os}_refusal" "$device") || die $? "$reason"
  device_size=$("${os}_bytes" "$device")
}

site='' yes=0 yes_word='' dry=0 verify=1 image='' device=''
while [ $# -gt 0 ]; do
  case $1 in
    --site)
      [ $# -ge 2 ] || die 2 "--site needs a file"
      site=$2
      shift
      ;;
    --site=*) site=${1#*=} ;;
    --dry-run) dry=1 ;;
    --yes) yes=1 ;;
    --yes=*) yes=1 yes_word=${1#*=} ;;
    --no-verify) verify=0 ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) die 2 "unknown option '$1'; --help tells what there is" ;;
    *)
      if [ -z "$image" ]; then
        image=$1
      elif [ -z "$device" ]; then
        device=$1
      else
        die 2 "one IMAGE and one DEVICE, please; --help tells more"
      fi
      ;;
  esac
  shift
done
[ -n "$image" ] || die 2 "no IMAGE was named; --help tells more"
if [ ! -f "$image" ] || [ ! -r "$image" ]; then die 10 "the image $image cannot be read"; fi
unpacked_name=$image
case $image in *.zst | *.xz | *.gz) unpacked_name=${image%.*} ;; esac

# How macOS and Linux read past their caches.
case $(uname -s) in
  Darwin) os=macos direct_in='' direct_out='' ;;
  *) os=linux direct_in=iflag=direct direct_out=oflag=direct ;;
esac

work='' writing=0 config='' summed=0
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

[ -n "$device" ] || list_disks
refuse_if_needed
if [ "$dry" = 0 ] && ! "${os}_may_write" "$device"; then
  die 1 "writing to $device needs root's rights: sudo ./flash.sh ..."
fi
[ -z "$site" ] || check_site

work=$(mktemp -d "${TMPDIR:-/tmp}/flash.XXXXXX")
check_sum "$image" "$image"
unpack
check_image
[ "$disk" = "$image" ] || check_sum "$disk" "$unpacked_name"
[ "$summed" = 1 ] || [ ! -e "$image.sha256" ] || die 11 "$image.sha256 has no checksum of the image in it"
[ "$image_size" -le "$device_size" ] ||
  die 29 "$device is too small: it has $(mebibytes "$device_size"), the image needs $(mebibytes "$image_size")"
read_map
[ "$summed" = 1 ] || say "There is no checksum beside $image: whether it is whole cannot be known."
[ -z "$site" ] || make_config
make_plan

"${os}_describe" "$device"
say "Image:  ${image##*/}, $(mebibytes "$image_size"), of which $(mebibytes "$to_write") are written"
say "Disk:   $device, $(describe_line)"
[ -z "$site" ] || say "Site:   $site, as site.toml on CONFIG; the box moves its secrets to its own disk at its first start"
if [ "$dry" = 1 ]; then
  say "Dry run: all is well, and nothing was written."
  exit 0
fi
say "Everything on $device will be lost."
confirm

# Time has passed, and things may have been plugged or mounted.
refuse_if_needed
"${os}_release"
raw=$("${os}_raw" "$device")
writing=1
blank || die 40 "writing to $device failed at once"
begin Writing
write_stage body
if [ "$verify" = 1 ]; then
  begin Reading
  verify_stage body
fi
begin ''
write_stage ends
[ "$verify" = 0 ] || verify_stage ends
writing=0

"${os}_eject"
say "Done: $device is ready. It can be pulled out."
[ -n "$site" ] || say "The box still needs its site.toml: put it on the partition named CONFIG, with any computer."
