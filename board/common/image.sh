# shellcheck shell=bash
# What every image of the box is made with, sourced by the release build (post-build.sh and
# post-image.sh, called by Buildroot) and by the bench build (board/bench/build.sh).
#
#   complete_root ROOT BOARD KEYS   what the overlay cannot hold: version, keyring, empty folders
#   make_esp DIR LOADER NAME CMDLINE
#   make_config DIR · make_data DIR
#   make_disk DIR ARCHITECTURE OUT [LAYOUT]   the disk from what is in DIR
#   make_bundle SLOT BOARD VERSION KEYS OUT [BOOT]   BOOT: the slot's boot partition, on a Pi
#   signing_keys                    the folder of the keys to sign with
#   size_report ROOT SLOT DISK [PACKED]

# File system tools are where only root looks.
PATH=$PATH:/usr/sbin:/sbin
backrow=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# One time for all that carries one: the last change to the tree, or now.
: "${SOURCE_DATE_EPOCH:=$(git -C "$backrow" log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

say() { printf 'image: %s\n' "$*" >&2; }

version() {
  sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$backrow/Cargo.toml"
}

# Where the signing keys are: KEYS, or keys/ with ones for development, made when there are none.
signing_keys() {
  local keys=${KEYS:-keys}
  [[ $keys = /* ]] || keys=$backrow/$keys
  if [ -n "${KEYS:-}" ]; then
    [ -s "$keys/signer.key.pem" ] || { say "no signer.key.pem in $keys"; return 1; }
  else
    development_keys "$keys"
  fi
  echo "$keys"
}

# A certificate authority and a key to sign with, for development: made once, never in the tree. A
# release is signed with KEYS=folder: ca.cert.pem, signer.cert.pem and signer.key.pem.
development_keys() {
  local dir=$1
  [ -s "$dir/signer.cert.pem" ] && return
  say "making keys for development in $dir"
  (
    umask 077
    mkdir -p "$dir"
    cd "$dir"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
      -subj '/O=Backrow/CN=Backrow development' -addext keyUsage=critical,keyCertSign,cRLSign \
      -keyout ca.key.pem -out ca.cert.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -subj '/O=Backrow/CN=Backrow development signer' -keyout signer.key.pem -out signer.csr
    printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n' > signer.ext
    openssl x509 -req -in signer.csr -CA ca.cert.pem -CAkey ca.key.pem -CAcreateserial -days 36500 \
      -extfile signer.ext -out signer.cert.pem.new
    rm -f signer.csr signer.ext
    mv signer.cert.pem.new signer.cert.pem
  ) > "$dir.log" 2>&1 || { cat "$dir.log" >&2; return 1; }
  rm -f "$dir.log"
}

# ROOT has the system and the overlay; this adds what differs from image to image.
complete_root() {
  local root=$1 board=$2 keys=$3 loader conf
  mkdir -p "$root"/{data,boot/efi,var,tmp,root,proc,sys,dev,run,usr/lib/backrow,etc/rauc}
  chmod 700 "$root/root"
  find "$root/var" -mindepth 1 -delete
  printf 'BACKROW_VERSION=%s\nBACKROW_BOARD=%s\nBACKROW_BUILT=%s\n' \
    "${BACKROW_VERSION:-$(version)}" "$board" "$SOURCE_DATE_EPOCH" > "$root/usr/lib/backrow/image"
  # systemd lets no clock be earlier than this file.
  touch -d "@$SOURCE_DATE_EPOCH" "$root/usr/lib/clock-epoch"
  # Keys come from CONFIG into memory; nobody has one in the image.
  rm -rf "$root/root/.ssh"
  ln -s /run/backrow/ssh "$root/root/.ssh"
  : > "$root/etc/machine-id"

  case "$board" in
    rpi*) loader=custom conf='' ;;
    *) loader=grub conf='grubenv=/boot/efi/EFI/BOOT/grubenv' ;;
  esac
  sed -e "s,@BOARD@,$board," -e "s,@BOOTLOADER@,$loader," -e "s,@BOOTLOADER_CONF@,$conf," \
    "$backrow/board/common/rauc-system.conf" > "$root/etc/rauc/system.conf"
  if [ "$loader" = custom ]; then
    cat >> "$root/etc/rauc/system.conf" <<'CONF'

[slot.boot.0]
device=/dev/backrow/boot-a
type=raw
parent=rootfs.0

[slot.boot.1]
device=/dev/backrow/boot-b
type=raw
parent=rootfs.1

[handlers]
bootloader-custom-backend=/usr/lib/backrow/rauc-tryboot
CONF
  fi
  install -m 644 "$keys/ca.cert.pem" "$root/etc/rauc/keyring.pem"
}

# A FAT file system of SIZE bytes, the same bytes for the same contents.
fat() {
  local out=$1 size=$2 label=$3 id=$4
  rm -f "$out"
  truncate -s "$size" "$out"
  mkfs.vfat "${@:5}" -n "$label" -i "$id" --invariant "$out" > /dev/null
}

# The boot partition: LOADER is GRUB for EFI, NAME what the firmware looks for (BOOTX64.EFI).
make_esp() {
  local dir=$1 loader=$2 name=$3 cmdline=$4 esp=$1/esp.vfat
  sed "s|@CMDLINE@|$cmdline|" "$backrow/board/common/grub.cfg" > "$dir/grub.cfg"
  make_grubenv "$dir/grubenv"
  fat "$esp" 64M BACKROW 42524f57 -F 32 -s 1
  export MTOOLS_SKIP_CHECK=1
  mmd -i "$esp" ::/EFI ::/EFI/BOOT
  mcopy -i "$esp" "$loader" "::/EFI/BOOT/$name"
  mcopy -i "$esp" "$dir/grub.cfg" "$dir/grubenv" ::/EFI/BOOT/
}

# GRUB's environment: lines, filled up with # to 1024 bytes. Only slot A has something in it.
make_grubenv() {
  printf '%-1024s' '# GRUB Environment Block
ORDER=A B
A_OK=1
A_TRY=0
B_OK=0
B_TRY=0
' | sed '$s/ /#/g' > "$1"
}

# The partition that people edit; an update has room on it.
make_config() {
  local config=$1/config.vfat
  fat "$config" 160M CONFIG 434f4e46
  sed 's/$/\r/' "$backrow/board/common/config-readme.txt" > "$1/README.txt"
  MTOOLS_SKIP_CHECK=1 mcopy -i "$config" "$1/README.txt" ::/README.txt
}

# Small in the image, made to grow to a terabyte on the disk: the block size and the journal are
# those of a large file system.
make_data() {
  local data=$1/data.ext4
  rm -f "$data"
  truncate -s 64M "$data"
  mkfs.ext4 -q -F -L data -b 4096 -i 65536 -m 1 -J size=16 -E "resize=268435456,root_owner=0:0" \
    "$data"
}

# DIR has esp.vfat, rootfs.squashfs, config.vfat and data.ext4.
make_disk() {
  local dir=$1 architecture=$2 out=$3 type
  case "$architecture" in
    x86_64) type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709 ;;
    aarch64) type=b921b045-1df0-41c3-af44-4c6f280d3fae ;;
    *) say "no partition type for a root of $architecture"; return 1 ;;
  esac
  sed -e "s,@NAME@,disk.img," -e "s,@ROOT_TYPE@,$type," "${4:-$backrow/board/common/genimage.cfg}" \
    > "$dir/genimage.cfg"
  rm -rf "$dir/genimage.tmp" "$dir/empty"
  mkdir -p "$dir/empty"
  genimage --loglevel 1 --rootpath "$dir/empty" --tmppath "$dir/genimage.tmp" --inputpath "$dir" \
    --outputpath "$dir" --config "$dir/genimage.cfg" > "$dir/genimage.log" 2>&1 ||
    { cat "$dir/genimage.log" >&2; return 1; }
  rm -rf "$dir/genimage.tmp" "$dir/empty"
  mv "$dir/disk.img" "$out"
  bmaptool --quiet create -o "$out.bmap" "$out"
  (cd "$(dirname "$out")" && sha256sum "$(basename "$out")" > "$(basename "$out").sha256")
}

# A signed update: RAUC's verity format, whose blocks are checked as they are read. The slot is
# compressed already.
make_bundle() {
  local slot=$1 board=$2 version=$3 keys=$4 out=$5 boot=${6:-} work
  work=$(mktemp -d)
  mkdir "$work/bundle"
  ln "$slot" "$work/bundle/rootfs.img" 2>/dev/null || cp "$slot" "$work/bundle/rootfs.img"
  cat > "$work/bundle/manifest.raucm" <<MANIFEST
[update]
compatible=backrow-$board
version=$version
description=Backrow $version for $board
build=$SOURCE_DATE_EPOCH

[bundle]
format=verity

[image.rootfs]
filename=rootfs.img
MANIFEST
  if [ -n "$boot" ]; then
    cp "$boot" "$work/bundle/boot.img"
    printf '\n[image.boot]\nfilename=boot.img\n' >> "$work/bundle/manifest.raucm"
  fi
  rm -f "$out"
  rauc bundle --cert="$keys/signer.cert.pem" --key="$keys/signer.key.pem" \
    --keyring="$keys/ca.cert.pem" --mksquashfs-args='-noI -noD -noF -noX -quiet -no-progress' \
    "$work/bundle" "$out" > "$work/log" 2>&1 || { cat "$work/log" >&2; rm -rf "$work"; return 1; }
  rm -rf "$work"
}

# What takes the room, largest first.
size_report() {
  local root=$1 slot=$2 disk=$3 packed=${4:-}
  awk -v slot="$(stat -c %s "$slot")" -v disk="$(du -k "$disk" | cut -f 1)" 'BEGIN {
      printf "slot   %6.1f MiB of 384\n", slot / 1048576
      printf "image  %6.1f MiB written\n", disk / 1024
    }'
  [ -z "$packed" ] || stat -c %s "$packed" | awk '{printf "packed %6.1f MiB\n", $1 / 1048576}'
  (cd "$root" && du -xk --max-depth=3 . | sort -rn | head -n 30 | awk '{printf "%8.1f MiB %s\n", $1 / 1024, $2}')
}
