# shellcheck shell=bash
# Part of flash.sh: is the image whole, and what of it goes where?

# A checksum file has lines of a sum and a name; one lonely sum is the image's.
expected_sum() { # name of a file: its sum, if a file beside the image tells it
  local list sum name lines=0 lonely=
  for list in "$image.sha256" "$unpacked_name.sha256" "${unpacked_name%.img}.sha256"; do
    [ -f "$list" ] || continue
    while read -r sum name || [ -n "$sum" ]; do
      name=${name%$'\r'}
      name=${name#\*}
      [ "${name##*/}" != "${1##*/}" ] || { echo "$sum"; return; }
      case ${name##*/} in
        "${image##*/}" | "${unpacked_name##*/}") ;;
        *) lonely=$sum lines=$((lines + 1)) ;;
      esac
    done <"$list"
    # It names neither: the image was given another name.
    if [ "$list" = "$image.sha256" ] && [ "$1" = "$image" ] && [ "$lines" = 1 ]; then
      echo "$lonely"
      return
    fi
  done
}

check_sum() { # file name
  local expected
  expected=$(expected_sum "$2" | tr -d '\r' | tr A-F a-f)
  [ -n "$expected" ] || return 0
  say "Checking the image against its checksum ..."
  [ "$(sha256 <"$1")" = "$expected" ] ||
    die 11 "$2 does not match its checksum: it is damaged or not whole. Fetch it again."
  summed=1
}

unpack() {
  local tool
  case $image in
    *.zst) tool=zstd package=zstd ;;
    *.xz) tool=xz package=xz-utils ;;
    *.gz) tool=gzip package=gzip ;;
    *)
      disk=$image
      return
      ;;
  esac
  need "$tool" "${package:-$tool}"
  disk=$work/image
  # Whole, and before the disk is touched: a damaged archive shows itself only at its end.
  say "Unpacking the image ..."
  "$tool" -dc <"$image" >"$disk" 2>"$work/said" ||
    die 10 "$image cannot be unpacked ($(tail -n 1 "$work/said")). Is it whole, and is there room in ${TMPDIR:-/tmp}?"
}

bytes() { dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null; } # file offset count
text() { bytes "$@" | tr -d '\000'; }
little() { # file offset count: a number, little end first
  local byte value=0 place=0
  for byte in $(bytes "$@" | od -An -v -tu1); do
    value=$((value + (byte << place)))
    place=$((place + 8))
  done
  echo "$value"
}

# Finds CONFIG in the partition table (UEFI 2.10, 5.3): fills in its first block and their count.
find_config() {
  local entries count each i at name first last
  entries=$(($(little "$disk" 584 8) * 512))
  count=$(little "$disk" 592 4)
  each=$(little "$disk" 596 4)
  for ((i = 0; i < count && i < 16; i++)); do
    at=$((entries + i * each))
    name=$(text "$disk" $((at + 56)) 72)
    case $name in [Cc][Oo][Nn][Ff][Ii][Gg]) ;; *) continue ;; esac
    first=$(($(little "$disk" $((at + 32)) 8) * 512))
    last=$((($(little "$disk" $((at + 40)) 8) + 1) * 512))
    if [ $((first % 4096 + last % 4096)) != 0 ] || [ "$last" -gt "$image_size" ]; then break; fi
    config_first=$((first / 4096))
    config_blocks=$(((last - first) / 4096))
    return
  done
  die 13 "$image has no CONFIG partition to put site.toml into"
}

check_image() {
  image_size=$(size_of "$disk")
  if [ "$image_size" -lt 3145728 ] || [ $((image_size % 512)) != 0 ] ||
    [ "$(text "$disk" 512 8)" != 'EFI PART' ]; then
    die 10 "$image is not a disk image: it has no GPT partition table"
  fi
}

# What to write, from the block map: lines of first block, count, and the sum if it is known.
read_map() {
  local map sum blocks first last total=0
  blocks=$(((image_size + 4095) / 4096))
  for map in "$image.bmap" "$unpacked_name.bmap" "${unpacked_name%.img}.bmap"; do
    [ -f "$map" ] || continue
    if [ "$(told_xml ChecksumType "$map")" != sha256 ] || [ "$(told_xml BlockSize "$map")" != 4096 ]; then
      say "The block map $map is of a kind that is not known here: the whole image is written."
      break
    fi
    sum=$(told_xml BmapFileChecksum "$map")
    # It is the sum of the map with zeros in the place of the sum.
    [ "$(sed "s/$sum/$(printf '%064d' 0)/" "$map" | sha256)" = "$sum" ] ||
      die 11 "the block map $map is damaged; fetch it again"
    [ "$(told_xml ImageSize "$map")" = "$image_size" ] || die 11 "the block map $map is of another image"
    say "Checking the image against its block map ..."
    sed -n 's/.*<Range chksum="\([0-9a-f]*\)"> *\([0-9]*\)-\{0,1\}\([0-9]*\) *<.*/\1 \2 \3/p' "$map" >"$work/map"
    while read -r sum first last <&3; do
      last=${last:-$first}
      [ "$(get "$first" $((last - first + 1)) "$disk" | sha256)" = "$sum" ] ||
        die 11 "$image does not match its block map (blocks $first to $last): it is damaged. Fetch it again."
      echo "$first $((last - first + 1)) $sum"
      total=$((total + last - first + 1))
    done 3<"$work/map" >"$work/ranges"
    [ "$(told_xml MappedBlocksCount "$map")" = "$total" ] || die 11 "the block map $map is damaged; fetch it again"
    summed=1
    return
  done
  echo "0 $blocks -" >"$work/ranges"
}
told_xml() { sed -n "s/.*<$1> *\([0-9a-z]*\) *<.*/\1/p" "$2"; }

# A look at site.toml, so that a slip is seen here and not in the venue. The box reads it properly.
check_site() {
  local wrong
  if [ ! -f "$site" ] || [ ! -r "$site" ]; then die 13 "$site cannot be read"; fi
  [ -s "$site" ] || die 13 "$site is empty"
  [ "$(size_of "$site")" -le 1048576 ] || die 13 "$site is larger than 1 MiB: is it the right file?"
  [ "$(tr -d '\11\12\15\40-\176\200-\377' <"$site" | wc -c | tr -d ' ')" = 0 ] ||
    die 13 "$site is not a text file (save it as UTF-8)"
  ! have iconv || iconv -f UTF-8 -t UTF-8 "$site" >/dev/null 2>&1 ||
    die 13 "$site has letters that are not UTF-8; save it as UTF-8"
  wrong=$(awk '
    NR == 1 { sub(/^\357\273\277/, "") }
    { sub(/\r$/, "") }
    # Texts that go over lines, such as certificates, are passed over.
    long { if (index($0, long)) long = ""; next }
    {
      while (!long && (at = match($0, /"""|\047\047\047/))) {
        rest = substr($0, at + 3)
        long = substr($0, at, 3)
        end = index(rest, long)
        $0 = substr($0, 1, at - 1) "_"
        if (end) { $0 = $0 substr(rest, end + 3); long = "" }
      }
      gsub(/"([^"\\]|\\.)*"|\047[^\047]*\047/, "_")
      sub(/#.*/, "")
    }
    /^[ \t]*$/ { next }
    depth == 0 && /^[ \t]*\[.*\][ \t]*$/ { next }
    depth == 0 && !/^[ \t]*[-A-Za-z0-9_][-A-Za-z0-9_. \t]*=/ {
      print "line " NR ": this is neither [table] nor key = value"; exit
    }
    /["\047]/ { print "line " NR ": a quotation mark is missing"; exit }
    { depth += gsub(/[[{]/, "") - gsub(/[]}]/, "") }
    END { if (long) print "a text in " long " does not end" }
  ' "$site")
  [ -z "$wrong" ] || die 13 "$site, $wrong"
}

# CONFIG as it will be: the image's own, and site.toml in it.
make_config() {
  need mcopy mtools
  find_config
  config=$work/config
  get "$config_first" "$config_blocks" "$disk" >"$config"
  export MTOOLSRC=/dev/null MTOOLS_SKIP_CHECK=1
  mcopy -o -i "$config" "$site" ::site.toml >/dev/null 2>"$work/said" ||
    die 13 "site.toml does not go into the CONFIG partition ($(tail -n 1 "$work/said"))"
  mcopy -i "$config" ::site.toml - 2>/dev/null | cmp -s - "$site" ||
    die 13 "site.toml did not arrive whole in the CONFIG partition"
}

# The plan: lines of first block, count, sum, stage and the block its source begins at, so that the
# table at both ends can go on last, and CONFIG can be ours.
#   body  image    everything between
#   body  config   CONFIG with site.toml
#   ends  image    the first and the last MiB
make_plan() {
  local first count sum cut end piece stage source
  local last=$(((image_size + 4095) / 4096))
  local cuts="256 $((last - 256))"
  [ -z "$config" ] || cuts="$cuts $config_first $((config_first + config_blocks))"
  while read -r first count sum <&3; do
    end=$((first + count))
    while [ "$first" -lt "$end" ]; do
      piece=$end
      for cut in $cuts; do
        if [ "$cut" -gt "$first" ] && [ "$cut" -lt "$piece" ]; then piece=$cut; fi
      done
      stage=body
      if [ "$first" -lt 256 ] || [ "$first" -ge $((last - 256)) ]; then stage=ends; fi
      if [ -z "$config" ] || [ "$first" -lt "$config_first" ] ||
        [ "$first" -ge $((config_first + config_blocks)) ]; then
        [ $((piece - first)) = "$count" ] && [ "$sum" != - ] ||
          sum=$(get "$first" $((piece - first)) "$disk" | sha256)
        echo "$first $((piece - first)) $sum $stage image"
      fi
      first=$piece
      sum=- # of the next piece, which is not the whole range
    done
  done 3<"$work/ranges" >"$work/plan"
  if [ -n "$config" ]; then
    echo "$config_first $config_blocks $(sha256 <"$config") body config" >>"$work/plan"
  fi
  to_write=$(awk '{ blocks += $2 } END { printf "%d", blocks * 4096 }' "$work/plan")
  body=$(awk '$4 == "body" { blocks += $2 } END { printf "%d", blocks }' "$work/plan")
}
