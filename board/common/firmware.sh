# shellcheck shell=bash
# Firmware for devices, as the makers give it out: for some radios every version there ever was.
#
#   newest_firmware DIR < NAMES   of each radio the one version that its driver takes
#   early_microcode DIR OUT       the processors' corrections, as the kernel finds them

# NAMES are what the kernel's modules ask for (modinfo -F firmware): NAME-VERSION.ucode with the newest
# version that the driver knows. It asks for that, then for one less, and so on. Newer ones it never
# takes, and a radio without a driver takes none.
newest_firmware() {
  local dir=$1 name path base version
  local -A wanted=() newest=()
  while read -r name; do
    firmware_version "${name##*/}"
    if ((version > ${wanted[$base]:--1})); then wanted[$base]=$version; fi
  done
  local -a files
  mapfile -t files < <(find "$dir/intel/iwlwifi" "$dir/rtw89" -type f ! -name '*.pnvm' 2> /dev/null)
  for path in "${files[@]}"; do
    firmware_version "${path##*/}"
    if ((version <= ${wanted[$base]:--1} && version > ${newest[$base]:--1})); then newest[$base]=$version; fi
  done
  for path in "${files[@]}"; do
    firmware_version "${path##*/}"
    if ((version != ${newest[$base]:--1})); then rm "$path"; fi
  done
  # The names that led to them.
  find "$dir" -xtype l -delete
}

# NAME-VERSION.KIND without a version is version 0, which is how drivers count.
firmware_version() {
  local stem=${1%.*}
  base=$stem.${1##*.} version=0
  if [[ $stem =~ ^(.+)-([0-9]+)$ ]]; then
    base=${BASH_REMATCH[1]}.${1##*.} version=$((10#${BASH_REMATCH[2]}))
  fi
}

# Corrections are taken only before anything else runs: the kernel finds them at the head of its initial
# file system (Linux, Documentation/arch/x86/microcode.rst), and nowhere later. Those of server
# processors, more than half of it all, stay out: GRUB reads the whole at each start, and no such machine
# is carried into a room. By model, as Intel names the files: Xeon and Xeon Phi from Skylake on.
early_microcode() {
  local dir=$1 out=$2 early
  early=$(mktemp -d)
  mkdir -p "$early/kernel/x86/microcode"
  find "$dir/intel-ucode" -type f ! -name '06-55-*' ! -name '06-57-*' ! -name '06-85-*' ! -name '06-6[ac]-*' \
    ! -name '06-8f-*' ! -name '06-cf-*' ! -name '06-a[def]-*' -print0 | LC_ALL=C sort -z \
    | xargs -0 cat > "$early/kernel/x86/microcode/GenuineIntel.bin"
  cat "$dir"/amd-ucode/*.bin > "$early/kernel/x86/microcode/AuthenticAMD.bin"
  find "$early" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  (cd "$early" && find kernel | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) > "$out"
  rm -rf "$early" "$dir"/{intel,amd}-ucode
}
